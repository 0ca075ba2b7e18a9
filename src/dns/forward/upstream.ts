// One upstream server: its transports, how fast it answers, and whether it is well (checked only after an error).
import type { ForwardOptions, ForwardTarget } from '../corefile/config.ts';
import type { UpstreamAnswer } from './answer.ts';
import type { ForwardMetrics } from './forward-metrics.ts';
import type { Asked } from './question.ts';
import { Stream } from './stream.ts';
import { askUdp } from './udp.ts';

export type ServerTarget = Extract<ForwardTarget, { kind: 'server' }>;

/** How long an upstream is waited for, in ms (CoreDNS's read timeout). */
export const readTimeoutMs = 2000;
const leastPatienceMs = 100;
const mostPatienceMs = 1000;
const firstPatienceMs = 400;

export type Transport = 'udp' | 'tcp';

/** `10.0.0.53:53`, as metrics and people name it. */
export const targetText = ({ address, port, protocol }: ServerTarget): string =>
  `${protocol === 'tls' ? 'tls://' : ''}${address.includes(':') ? `[${address}]` : address}:${port}`;

export class Upstream {
  readonly target: ServerTarget;
  readonly text: string;
  readonly #options: ForwardOptions;
  readonly #metrics: ForwardMetrics;
  readonly #stream: Stream;
  #smoothedMs: number | undefined;
  #fails = 0;
  #checking: NodeJS.Timeout | undefined;
  #closed = false;
  /** It leads back to this cluster's own DNS. */
  excluded = false;

  constructor(target: ServerTarget, options: ForwardOptions, metrics: ForwardMetrics) {
    this.target = target;
    this.text = targetText(target);
    this.#options = options;
    this.#metrics = metrics;
    const proto = target.protocol === 'tls' ? 'tcp-tls' : 'tcp';
    this.#stream = new Stream(
      {
        address: target.address,
        port: target.port,
        expireMs: options.expireMs,
        ...(target.protocol === 'tls' && {
          tls: { ...options.tls, ...(target.serverName !== undefined && { serverName: target.serverName }) },
        }),
      },
      (reused) => metrics.connection(this.text, proto, reused),
    );
  }

  /** So many checks in succession have failed that others are asked first, and it only when all are like this. */
  get down(): boolean {
    return this.#options.maxFails > 0 && this.#fails >= this.#options.maxFails;
  }

  /** It has failed, and it is not known yet whether it is well again. */
  get suspect(): boolean {
    return this.#checking !== undefined;
  }

  /** How long to wait before another one is asked as well: some times what it takes as a rule, in ms. */
  get patienceMs(): number {
    if (this.#smoothedMs === undefined) return firstPatienceMs;
    return Math.min(mostPatienceMs, Math.max(leastPatienceMs, this.#smoothedMs * 4));
  }

  /** Asks; rejects when there is no answer, and has it checked from then on. */
  async ask(asked: Asked, transport: Transport): Promise<UpstreamAnswer> {
    const begin = performance.now();
    this.#metrics.asked(this.text);
    try {
      const answer = await this.#exchange(asked, transport, readTimeoutMs, true);
      const took = performance.now() - begin;
      this.#smoothedMs = this.#smoothedMs === undefined ? took : this.#smoothedMs * 0.875 + took * 0.125;
      this.#metrics.answered(this.text, answer.rcode, took / 1000);
      return answer;
    } catch (error) {
      this.check();
      throw error;
    }
  }

  /** Checks until it answers; each failed check counts. Does nothing while that goes on already. */
  check(): void {
    if (this.#checking !== undefined || this.#options.maxFails === 0 || this.#closed) return;
    const again = (): void => {
      this.#checking = setTimeout(() => void once(), this.#options.healthCheckMs);
      this.#checking.unref();
    };
    const once = async (): Promise<void> => {
      const asked = {
        name: this.#options.healthDomain,
        type: 2,
        class: 1,
        dnssecOk: false,
        checkingDisabled: false,
      };
      try {
        // Any answer is a sign of life, REFUSED too.
        await this.#exchange(asked, 'udp', Math.max(1000, this.#options.healthCheckMs), this.#options.healthRecursion);
        this.#fails = 0;
        this.#checking = undefined;
      } catch {
        this.#fails++;
        this.#metrics.checkFailed(this.text);
        if (!this.#closed) again();
      }
    };
    this.#checking = setTimeout(() => {}, 0);
    void once();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#checking);
    this.#stream.close();
  }

  #exchange(asked: Asked, transport: Transport, timeoutMs: number, recursion: boolean): Promise<UpstreamAnswer> {
    return this.target.protocol === 'tls' || transport === 'tcp' || this.#options.forceTcp
      ? this.#stream.ask(asked, timeoutMs, recursion)
      : askUdp(asked, this.target, timeoutMs, recursion);
  }
}
