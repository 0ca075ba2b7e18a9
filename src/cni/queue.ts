// Calls of DEL that came while the daemon was down: files that the shim left, handled in the order of their names.
import { mkdirSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { type Call, parseCall } from './frame.ts';

/** Files in writing have another ending. */
const suffix = '.call';

/**
 * Handles each queued call once: the file goes when the handler has come to its end. It stays when the handler throws;
 * the others are handled all the same, and the first error is thrown at the end. Unreadable files are removed: nothing
 * could ever be done with them.
 */
export async function drainQueue(dir: string, handle: (call: Call) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const name of readdirSync(dir).sort()) {
    if (!name.endsWith(suffix)) continue;
    const file = join(dir, name);
    const call = parseCall(readFileSync(file));
    try {
      if (call !== undefined) await handle(call);
      rmSync(file, { force: true });
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Calls back when a file is put into the folder, which is made where it is missing. Returns the end of it. */
export function watchQueue(dir: string, changed: () => void): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const watcher = watch(dir, { persistent: false }, (_event, name) => {
    if (name === null || name.endsWith(suffix)) changed();
  });
  watcher.on('error', changed);
  return () => watcher.close();
}
