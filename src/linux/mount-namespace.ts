// Synchronous work inside of another mount namespace, on the calling thread.
import { closeSync, openSync } from 'node:fs';
import * as libc from './libc.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWUTS = 0x4000000;

/**
 * Runs a function with the calling thread inside of a mount namespace, and brings the thread back. The function must
 * be synchronous. Afterwards the thread's working directory is the root folder: setns(2) puts it there, and so the
 * process must not rely on relative paths.
 */
export function inMountNamespace<T>(namespace: string, work: () => T): T {
  const back = openSync('/proc/thread-self/ns/mnt', 'r');
  const fd = openSync(namespace, 'r');
  try {
    // The kernel lets only a thread that shares its root and working directory with no other change the namespace.
    libc.unshare(CLONE_FS);
    libc.setns(fd, CLONE_NEWNS);
    try {
      return work();
    } finally {
      libc.setns(back, CLONE_NEWNS);
    }
  } finally {
    closeSync(fd);
    closeSync(back);
  }
}

/** Runs a function with the calling thread in a new UTS namespace, and brings the thread back. */
export function inNewUtsNamespace<T>(work: () => T): T {
  const back = openSync('/proc/thread-self/ns/uts', 'r');
  try {
    libc.unshare(CLONE_NEWUTS);
    try {
      return work();
    } finally {
      libc.setns(back, CLONE_NEWUTS);
    }
  } finally {
    closeSync(back);
  }
}
