// Garbage that no runtime reports: leases whose container's namespace is gone. Pure; the daemon applies it.
import { attachmentKey, type Lease } from './lease-store.ts';
import type { Attachment } from './protocol.ts';

export interface SweepDecision {
  /** Gone twice: to be freed now. */
  readonly release: readonly Attachment[];
  /** Gone for the first time: to be looked at again at the next sweep. */
  readonly suspects: ReadonlySet<string>;
}

/**
 * Two phases: a lease is freed when its namespace was gone at two sweeps in a row. A namespace that is not mounted yet
 * or an interrupted start costs no running pod its address.
 */
export function decideSweep(
  leases: readonly Lease[],
  isAlive: (netns: string) => boolean,
  suspects: ReadonlySet<string>,
): SweepDecision {
  const gone = leases.filter((lease) => !isAlive(lease.netns)).map((lease) => lease.attachment);
  return {
    release: gone.filter((attachment) => suspects.has(attachmentKey(attachment))),
    suspects: new Set(gone.map(attachmentKey).filter((key) => !suspects.has(key))),
  };
}
