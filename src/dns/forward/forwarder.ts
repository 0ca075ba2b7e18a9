// One `forward` of a Corefile: which upstreams are asked, in which order, and when a further one.
import { randomInt } from 'node:crypto';
import type { ForwardOptions } from '../corefile/config.ts';
import type { UpstreamAnswer } from './answer.ts';
import type { ForwardMetrics } from './forward-metrics.ts';
import { type Asked, keyOf } from './question.ts';
import { type ServerTarget, type Transport, Upstream } from './upstream.ts';

/** What became of a question. */
export type Outcome =
  | { readonly answer: UpstreamAnswer; readonly from: string }
  | { readonly answer: undefined; readonly reason: 'too-many' | 'no-answer' | 'no-upstream' | 'loop' };

/** How long a client waits at least (glibc and musl: 5 s): it is told of a failure before. */
const clientPatienceMs = 4500;

export class Forwarder {
  readonly options: ForwardOptions;
  readonly upstreams: readonly Upstream[];
  readonly #metrics: ForwardMetrics;
  readonly #underway = new Map<string, Promise<Outcome>>();
  #turn = 0;

  /** `targets` are those of the options, with those that files name in their place. */
  constructor(options: ForwardOptions, targets: readonly ServerTarget[], metrics: ForwardMetrics) {
    this.options = options;
    this.upstreams = targets.map((target) => new Upstream(target, options, metrics));
    this.#metrics = metrics;
  }

  /** The outcome of a question; equal questions that are on their way are asked once. */
  ask(asked: Asked, transport: Transport): Promise<Outcome> {
    const { maxConcurrent, preferUdp, forceTcp } = this.options;
    const first = forceTcp ? 'tcp' : preferUdp ? 'udp' : transport;
    const key = `${first} ${transport} ${keyOf(asked)}`;
    const known = this.#underway.get(key);
    if (known !== undefined) return known;
    if (maxConcurrent > 0 && this.#underway.size >= maxConcurrent) {
      this.#metrics.tooMany();
      return Promise.resolve({ answer: undefined, reason: 'too-many' });
    }
    const outcome = this.#askInTurn(asked, first, transport).finally(() => this.#underway.delete(key));
    this.#underway.set(key, outcome);
    return outcome;
  }

  close(): void {
    for (const upstream of this.upstreams) upstream.close();
  }

  async #askInTurn(asked: Asked, first: Transport, wanted: Transport): Promise<Outcome> {
    const outcome = await this.#attempts(asked, first);
    // `prefer_udp` for a client of TCP: what was cut over UDP is asked again over TCP.
    if (first === 'udp' && wanted === 'tcp' && outcome.answer?.truncated === true) return this.#attempts(asked, 'tcp');
    return outcome;
  }

  /**
   * Asks the first upstream, and a further one as soon as one fails, or is slower than it is as a rule: an upstream
   * that has died costs some 100 ms and no answer. The first good answer is the one.
   */
  #attempts(asked: Asked, transport: Transport): Promise<Outcome> {
    const order = this.#order();
    if (order.length === 0)
      return Promise.resolve({ answer: undefined, reason: this.upstreams.length === 0 ? 'no-upstream' : 'loop' });
    if (order.every((upstream) => upstream.down)) {
      this.#metrics.allDown();
      if (this.options.failFast) return Promise.resolve({ answer: undefined, reason: 'no-answer' });
    }
    const most = this.options.maxConnectAttempts || Math.max(3, order.length * 2);
    return new Promise((resolve) => {
      const deadline = performance.now() + clientPatienceMs;
      let [started, running] = [0, 0];
      let last: Outcome = { answer: undefined, reason: 'no-answer' };
      let timer: NodeJS.Timeout | undefined;
      const end = (outcome: Outcome): void => {
        clearTimeout(timer);
        clearTimeout(limit);
        started = Number.POSITIVE_INFINITY;
        resolve(outcome);
      };
      const limit = setTimeout(() => end(last), clientPatienceMs);
      const next = (): void => {
        clearTimeout(timer);
        const upstream = order[started % order.length];
        if (upstream === undefined || started >= most || performance.now() > deadline) {
          if (running === 0) end(last);
          return;
        }
        const round = Math.floor(started / order.length);
        started++;
        running++;
        timer = setTimeout(
          () => {
            // Late: it is looked after, and another one is asked as well.
            if (order.length > 1) upstream.check();
            next();
          },
          upstream.patienceMs * 2 ** round,
        );
        upstream.ask(asked, transport).then(
          (answer) => {
            running--;
            last = { answer, from: upstream.text };
            if (!this.options.failover.includes(answer.rcode)) end(last);
            else if (started < order.length) next();
            else if (running === 0) end(last);
          },
          () => {
            running--;
            // A refused connection fails at once. The same upstream is asked again after a while: it may be starting.
            if (started < order.length) next();
            else if (running === 0 && (started >= most || order.every((one) => one.down))) end(last);
          },
        );
      };
      next();
    });
  }

  /** Those that are well by the policy, then those in doubt, then those that are down; all at random when all are. */
  #order(): Upstream[] {
    const usable = this.upstreams.filter((upstream) => !upstream.excluded);
    if (usable.every((upstream) => upstream.down)) return shuffled(usable);
    const rank = (upstream: Upstream): number => (upstream.down ? 2 : upstream.suspect ? 1 : 0);
    return this.#byPolicy(usable).sort((a, b) => rank(a) - rank(b));
  }

  #byPolicy(upstreams: readonly Upstream[]): Upstream[] {
    if (this.options.policy === 'sequential') return [...upstreams];
    if (this.options.policy === 'random') return shuffled(upstreams);
    const start = this.#turn++ % Math.max(1, upstreams.length);
    return [...upstreams.slice(start), ...upstreams.slice(0, start)];
  }
}

function shuffled(upstreams: readonly Upstream[]): Upstream[] {
  const order = [...upstreams];
  for (let at = order.length - 1; at > 0; at--) {
    const other = randomInt(at + 1);
    const [a, b] = [order[at], order[other]];
    if (a !== undefined && b !== undefined) [order[at], order[other]] = [b, a];
  }
  return order;
}
