// Whether the proxy of this node does its work, and whether load balancers shall send new connections here (KEP-3836).
import type { Node } from '../../k8s/types.generated.ts';

/** The taint by which the cluster autoscaler announces that it takes the node away. */
const leavingTaint = 'ToBeDeletedByClusterAutoscaler';
/** A change that the kernel does not have after so long is a fault: twice kube-proxy's sync period, in ms. */
const patienceMs = 60_000;

/** Whether nobody is about to delete the node. */
export function isEligible(node: (Pick<Node, 'metadata'> & Partial<Pick<Node, 'spec'>>) | undefined): boolean {
  if (node === undefined) return true;
  const isTainted = node.spec?.taints?.some(({ key }) => key === leavingTaint) === true;
  return node.metadata.deletionTimestamp === undefined && !isTainted;
}

export class ProxyHealth {
  #lastWritten: number | undefined;
  #waitingSince: number | undefined;
  #eligible = true;

  /** A change waits for being written, since `now` (ms since 1970). */
  queued(now: number): void {
    this.#waitingSince ??= now;
  }

  /** Everything that waited is in the kernel. */
  written(now: number): void {
    this.#lastWritten = now;
    this.#waitingSince = undefined;
  }

  setEligible(eligible: boolean): void {
    this.#eligible = eligible;
  }

  get eligible(): boolean {
    return this.#eligible;
  }

  /** Whether the kernel has what the objects say, or will have it soon. */
  isHealthy(now: number): boolean {
    if (this.#lastWritten === undefined) return false;
    return this.#waitingSince === undefined || now - this.#waitingSince < patienceMs;
  }

  /** The answer to /healthz or /livez, as kube-proxy words it. */
  answer(path: 'healthz' | 'livez', now: number): { readonly code: 200 | 503; readonly body: string } {
    const ok = this.isHealthy(now) && (path === 'livez' || this.#eligible);
    // While nothing waits, what was written last is what there is now.
    const updated =
      this.#waitingSince === undefined && this.#lastWritten !== undefined ? now : (this.#lastWritten ?? 0);
    const body = JSON.stringify({
      lastUpdated: new Date(updated).toISOString(),
      currentTime: new Date(now).toISOString(),
      ...(path === 'healthz' && { nodeEligible: this.#eligible }),
    });
    return { code: ok ? 200 : 503, body };
  }
}
