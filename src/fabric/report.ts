// Tells what a fabric did and what it could not: in the log, and as Events of the node.
import type { Recorder } from '../k8s/events.ts';
import type { ObjectReference } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import type { Written } from './kernel.ts';
import type { FabricProblem } from './plan.ts';

/** So many changes of one pass are told one by one; of more, their number. */
const mostTold = 10;
/** A problem that lasts so long is told as an Event, in ms: nodes that start miss one another for a moment. */
const lastingMs = 5_000;

export class FabricReport {
  readonly #log: Log;
  readonly #recorder: Recorder | undefined;
  readonly #node: ObjectReference | undefined;
  #last = '';
  #lasting: NodeJS.Timeout | undefined;

  /** Without a recorder and a node, as for a router, the log alone is told. */
  constructor(log: Log, recorder?: Recorder, node?: ObjectReference) {
    this.#log = log;
    this.#recorder = recorder;
    this.#node = node;
  }

  written({ done }: Written, surprised: boolean): void {
    if (done.length === 0) return;
    const told = done.length > mostTold ? [...done.slice(0, mostTold), `… ${done.length} in all`] : done;
    this.#log.info({ changes: told }, surprised ? 'repaired what someone else changed' : 'the way to other nodes');
    if (surprised) this.#event('Normal', 'FabricRepaired', `Put right in the kernel: ${told.join('; ')}`);
  }

  /** What is wrong now; told when it changes, and as an Event when it lasts. */
  problems(problems: readonly FabricProblem[], waitsFor?: string): void {
    const lines = [
      ...problems.map(({ owner, reason }) => `${owner}: ${reason}`),
      ...(waitsFor === undefined ? [] : [`waiting for ${waitsFor}`]),
    ];
    const text = lines.join('; ');
    if (text === this.#last) return;
    this.#last = text;
    if (text === '') this.#log.info('every node can be reached');
    else this.#log.warn({ problems: lines }, 'not every node can be reached');
    clearTimeout(this.#lasting);
    if (problems.length === 0) return;
    this.#lasting = setTimeout(() => this.#event('Warning', 'FabricProblem', text), lastingMs).unref();
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    if (this.#node !== undefined) this.#recorder?.event(this.#node, type, reason, message);
  }
}
