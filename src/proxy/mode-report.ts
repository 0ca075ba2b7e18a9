// Says on the node's own Node object which proxy mode is in place, and in Events what keeps one from being so.
import type { Client } from '../k8s/client.ts';
import type { Recorder } from '../k8s/events.ts';
import { proxyModeAnnotation } from '../k8s/network-config.ts';
import { nodes } from '../k8s/resources.ts';
import type { Log } from '../log/log.ts';
import type { ProxyMode } from './writer.ts';

/** How long until the Node is tried again, which may not be registered yet, in ms. */
const retryMs = 2_000;

export interface ModeReportOptions {
  readonly client: Client;
  readonly recorder: Recorder;
  readonly nodeName: string;
  readonly log: Log;
}

export class ModeReport {
  readonly #options: ModeReportOptions;
  #problem: string | undefined;
  #mode: ProxyMode | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ModeReportOptions) {
    this.#options = options;
  }

  /** The mode is in force and nothing of another one is left. */
  inPlace(mode: ProxyMode): void {
    this.#mode = mode;
    this.#problem = undefined;
    void this.#announce();
  }

  /** The mode that was asked for is not in force, and why; the former one goes on. */
  impossible(problem: string): void {
    if (this.#problem === problem) return;
    this.#problem = problem;
    const { recorder, nodeName, log } = this.#options;
    log.error({ problem }, 'the proxy mode stays as it is');
    const node = { kind: 'Node', apiVersion: 'v1', name: nodeName, uid: nodeName };
    recorder.event(node, 'Warning', 'ProxyModeNotPossible', `${problem}; the proxy mode stays as it is`);
  }

  /** The Node as it is now: what it says of the mode may have been lost, as when it registers anew. */
  seen(annotations: Readonly<Record<string, string>> | undefined): void {
    if (this.#mode !== undefined && annotations?.[proxyModeAnnotation] !== this.#mode) void this.#announce();
  }

  async #announce(): Promise<void> {
    clearTimeout(this.#timer);
    const { client, nodeName, log } = this.#options;
    const body = { metadata: { annotations: { [proxyModeAnnotation]: this.#mode } } };
    try {
      await client.patch(nodes, { name: nodeName }, { type: 'merge', body });
    } catch (error) {
      log.debug({ err: error }, 'cannot say on the Node which proxy mode is in place; trying again');
      this.#timer = setTimeout(() => void this.#announce(), retryMs);
      this.#timer.unref();
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#mode = undefined;
  }
}
