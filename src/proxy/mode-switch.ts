// Changes how Services are written into the kernel, while they go on: the new rules are in force before the old ones go.
import type { Log } from '../log/log.ts';
import type { ServicePortModel } from './service-port.ts';
import type { ServiceSync } from './sync.ts';
import type { ProxyFacts, ProxyMode, ServiceWriter } from './writer.ts';

export interface ModeSwitchOptions {
  /** Throws an Error where this machine has not what the mode needs. */
  readonly open: (mode: ProxyMode) => Promise<ServiceWriter>;
  readonly sync: (writer: ServiceWriter) => ServiceSync;
  /**
   * Takes what a mode left in the kernel away, whoever wrote it, but for the chains of iptables that another mode has
   * made its own.
   */
  readonly cleanUp: (mode: ProxyMode, kept: ReadonlySet<string>) => Promise<void>;
  /** Told when a mode is in force and nothing of another one is left. */
  readonly inPlace: (mode: ProxyMode) => void;
  /** Told, once, why a mode that was asked for is not in force; the former one goes on. */
  readonly impossible: (mode: ProxyMode, reason: string) => void;
  readonly log: Log;
}

type Decide = () => readonly ServicePortModel[];

interface Running {
  readonly mode: ProxyMode;
  readonly writer: ServiceWriter;
  readonly sync: ServiceSync;
}

/** Nothing is written any more; what is written stays. */
async function end({ sync, writer }: Running): Promise<void> {
  await sync.stop();
  writer.close?.();
}

/** What works without anything installed, where the mode that was asked for does not. */
const simplest: ProxyMode = 'nftables';
const modes: readonly ProxyMode[] = ['nftables', 'iptables', 'ipvs'];
/** How long until something that failed is tried again, in ms. */
const retryMs = 5_000;

export class ModeSwitch {
  readonly #options: ModeSwitchOptions;
  readonly #services = new Map<string, Decide>();
  #facts: ProxyFacts | undefined;
  #wanted: ProxyMode;
  /** What is written to: one, and during a change two. */
  #running: Running[] = [];
  /** Modes of which something may be left in the kernel. */
  readonly #left = new Set<ProxyMode>(modes);
  #refused: ProxyMode | undefined;
  #announced: ProxyMode | undefined;
  #working: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(mode: ProxyMode, options: ModeSwitchOptions) {
    this.#wanted = mode;
    this.#options = options;
  }

  get mode(): ProxyMode {
    return this.#running.at(-1)?.mode ?? this.#wanted;
  }

  get size(): number {
    return this.#running.at(-1)?.sync.size ?? 0;
  }

  set(owner: string, decide: Decide): void {
    this.#services.set(owner, decide);
    for (const { sync } of this.#running) sync.set(owner, decide);
  }

  /** As `set`, of a Service that is gone. */
  forget(owner: string, decide: Decide): void {
    this.set(owner, decide);
    this.#services.delete(owner);
  }

  setFacts(facts: ProxyFacts): void {
    this.#facts = facts;
    for (const { sync } of this.#running) sync.setFacts(facts);
  }

  /** Resolves when the first complete set of rules is in the kernel; what another mode had left goes after that. */
  async start(): Promise<void> {
    let first: Running;
    try {
      first = await this.#open(this.#wanted);
    } catch (error) {
      this.#refuse(error);
      first = await this.#open(simplest);
    }
    await first.sync.start();
    this.#work();
  }

  /** Asks for a mode. */
  follow(mode: ProxyMode): void {
    if (mode === this.#wanted) return;
    this.#wanted = mode;
    this.#refused = undefined;
    if (this.#running.length > 0) this.#work();
  }

  /** Stops writing; what is written stays. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    await Promise.all(this.#running.map(({ sync }) => sync.stop()));
    await this.#working;
  }

  async #open(mode: ProxyMode): Promise<Running> {
    const writer = await this.#options.open(mode);
    const sync = this.#options.sync(writer);
    if (this.#facts !== undefined) sync.setFacts(this.#facts);
    for (const [owner, decide] of this.#services) sync.set(owner, decide);
    // From here on, what is set is set there too.
    const running = { mode, writer, sync };
    this.#running = [...this.#running, running];
    return running;
  }

  /** One change at a time. */
  #work(): void {
    clearTimeout(this.#retry);
    this.#working ??= this.#pass().finally(() => {
      this.#working = undefined;
      if (this.#isStopped || this.#isDone()) return;
      this.#retry = setTimeout(() => this.#work(), retryMs);
      this.#retry.unref();
    });
  }

  #isDone(): boolean {
    return this.mode === this.#wanted && this.#announced === this.#wanted;
  }

  async #pass(): Promise<void> {
    while (!this.#isStopped && this.mode !== this.#wanted) {
      try {
        await this.#change(this.#wanted);
      } catch (error) {
        this.#refuse(error);
        break;
      }
    }
    await this.#tidy();
  }

  async #change(mode: ProxyMode): Promise<void> {
    const current = this.#running;
    const next = await this.#open(mode);
    for (const { mode: one } of this.#running) this.#left.add(one);
    this.#announced = undefined;
    await next.sync.start();
    // What came while it was written is in the former mode's rules already.
    await next.sync.settled();
    if (next.sync.isInForce) {
      this.#options.log.info({ mode, former: current[0]?.mode }, 'the proxy mode has changed');
      this.#running = [next];
      for (const one of current) await end(one);
      return;
    }
    this.#running = current;
    await end(next);
    // A mode that shares chains of iptables with the other one may have lost some.
    for (const { sync } of current) await sync.audit();
    throw new Error('its rules could not be written; the log of the agent says why');
  }

  /** Takes away what is left of other modes than the one in force, then says that this one is in place. */
  async #tidy(): Promise<void> {
    const [current] = this.#running;
    if (current === undefined || this.#running.length > 1 || this.#isStopped) return;
    // Until its rules are in the kernel, those that another mode left are all that Services have.
    if (!current.sync.isInForce) return;
    const { mode, writer } = current;
    this.#left.delete(mode);
    for (const former of [...this.#left]) {
      try {
        await this.#options.cleanUp(former, writer.iptablesChains ?? new Set());
        this.#left.delete(former);
      } catch (error) {
        this.#options.log.warn({ mode: former, error: String(error) }, 'what another proxy mode left stays for now');
        return;
      }
    }
    if (this.#announced === mode) return;
    this.#announced = mode;
    this.#options.inPlace(mode);
  }

  #refuse(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (this.#refused === this.#wanted) return;
    this.#refused = this.#wanted;
    this.#options.impossible(this.#wanted, reason);
  }
}
