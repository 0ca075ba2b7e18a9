// Remembers which processes this one started of late to write to the kernel: what they did may be heard of late.
import { existsSync } from 'node:fs';

const recent: number[] = [];
const remembered = 100;

/** To be called for each child that writes to the kernel. */
export function noteOwnProcess(processId: number | undefined): void {
  if (processId !== undefined) recent.push(processId);
  if (recent.length > remembered) recent.shift();
}

/** Whether this process, one of its threads (for the kernel they have numbers, too), or a child of late has that number. */
export function isOwnProcess(processId: number): boolean {
  return processId === process.pid || recent.includes(processId) || existsSync(`/proc/self/task/${processId}`);
}
