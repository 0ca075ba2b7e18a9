// Gives memory that a process used for a moment back to the kernel.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimMalloc } from './libc.ts';

/**
 * Collects garbage and returns free pages. It stops everything for some 100 ms: for the end of a start-up that read much
 * more than is kept.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  // The flavor that moves what is left together, so that pages become free as a whole.
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  trimMalloc();
}
