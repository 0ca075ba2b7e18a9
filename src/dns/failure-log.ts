// Failures in the log (the plugin errors) and names that nobody can be asked for, equal ones together: a dead upstream
// does not fill it.
import type { Log } from '../log/log.ts';
import { typeName } from './corefile/values.ts';
import type { Name } from './records.ts';

/** Equal failures after the first one are counted for so long, and then told in one line. */
const togetherMs = 60_000;

export class FailureLog {
  readonly #log: Pick<Log, 'error'>;
  readonly #together = new Map<string, { count: number; readonly timer: NodeJS.Timeout }>();

  constructor(log: Pick<Log, 'error'>) {
    this.#log = log;
  }

  /** Tells of a question that failed with that code; another one for the same reason is counted. */
  add(name: Name, type: number, reason: string, code = 'SERVFAIL'): void {
    const known = this.#together.get(reason);
    if (known !== undefined) {
      known.count++;
      return;
    }
    this.#log.error({ name, type: typeName(type) }, `${code}: ${reason}`);
    const timer = setTimeout(() => this.#summarise(reason, code), togetherMs);
    timer.unref();
    this.#together.set(reason, { count: 0, timer });
  }

  stop(): void {
    for (const { timer } of this.#together.values()) clearTimeout(timer);
    this.#together.clear();
  }

  #summarise(reason: string, code: string): void {
    const known = this.#together.get(reason);
    this.#together.delete(reason);
    if (known !== undefined && known.count > 0)
      this.#log.error({ times: known.count }, `${code} in the last minute: ${reason}`);
  }
}
