// Sends a container's log file to a client: from its end backwards as many lines as wanted, then, when following, what
// is added until the container has ended. A rotated file is read to its end before the new one.
import { watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { createLogFormatter, type LogOptions } from './log-lines.ts';

const chunkSize = 64 * 1024;
/** File events are merged by the kernel and may be lost when its queue is full: look again after this time. */
const fallbackMs = 1000;

export interface LogSource {
  readonly path: string;
  /** Whether more may come: the container has not ended. */
  isRunning(): boolean;
}

/**
 * Writes the log to `output`, which it does not end; resolves when all is written, or the client has gone.
 * @throws Error with the code ENOENT when there is no such file.
 */
export async function streamLog(source: LogSource, options: LogOptions, output: Writable): Promise<void> {
  const formatter = createLogFormatter(options);
  const send = async (data: Buffer): Promise<boolean> => {
    const text = formatter.format(data);
    if (text.length > 0 && !output.write(text)) await drained(output);
    return !formatter.done && !output.destroyed;
  };
  let file = await open(source.path);
  try {
    let position = options.tailLines === undefined ? 0 : await tailStart(file, options.tailLines);
    const changes = options.follow ? watchFile(source.path, output) : undefined;
    try {
      for (;;) {
        // Asked before reading: what was written before the end is then read after it.
        const running = options.follow && source.isRunning();
        const end = await readOn(file, position, send);
        if (end === undefined) return;
        position = end;
        const rotated = options.follow ? await openRotated(source.path, file) : undefined;
        if (rotated !== undefined) {
          await readOn(file, position, send);
          await file.close();
          file = rotated;
          position = 0;
          continue;
        }
        if (!running || changes === undefined || output.destroyed) return;
        await changes.next();
      }
    } finally {
      changes?.stop();
    }
  } finally {
    await file.close();
  }
}

/** Reads from the position to the end of the file; where it ended, or undefined when no more is wanted. */
async function readOn(
  file: FileHandle,
  from: number,
  send: (data: Buffer) => Promise<boolean>,
): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafe(chunkSize);
  for (let position = from; ; ) {
    const { bytesRead } = await file.read(buffer, 0, chunkSize, position);
    if (bytesRead === 0) return position;
    position += bytesRead;
    if (!(await send(buffer.subarray(0, bytesRead)))) return undefined;
  }
}

/** Where the last so many lines of the file begin. */
async function tailStart(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines === 0) return size;
  const buffer = Buffer.allocUnsafe(chunkSize);
  let newlines = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - chunkSize);
    const { bytesRead } = await file.read(buffer, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i--) {
      // The newline at the very end closes the last line, it does not begin another.
      if (buffer[i] !== 0x0a || start + i === size - 1) continue;
      newlines++;
      if (newlines === lines) return start + i + 1;
    }
    end = start;
  }
  return 0;
}

/** The file that now has the path, when it is another one than the open file. */
async function openRotated(path: string, current: FileHandle): Promise<FileHandle | undefined> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  const [there, here] = await Promise.all([file.stat(), current.stat()]);
  if (there.ino !== here.ino || there.dev !== here.dev) return file;
  await file.close();
  return undefined;
}

/** Resolves `next` when the file, or which file it is, may have changed; at the latest after the fallback time. */
function watchFile(path: string, output: Writable): { next(): Promise<void>; stop(): void } {
  let changed = false;
  let wake = () => {};
  const notify = () => {
    changed = true;
    wake();
  };
  let watcher: ReturnType<typeof watch> | undefined;
  try {
    watcher = watch(dirname(path), (_event, name) => {
      if (name === null || name === basename(path)) notify();
    });
    watcher.on('error', () => {});
  } catch {
    // No inotify instance is left on the machine: the fallback time alone has to do.
  }
  output.on('close', notify);
  return {
    async next() {
      if (!changed) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, fallbackMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      changed = false;
      wake = () => {};
    },
    stop() {
      watcher?.close();
      output.off('close', notify);
      wake();
    },
  };
}

function drained(output: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (!output.writableNeedDrain || output.destroyed) return resolve();
    const done = () => {
      output.off('drain', done);
      output.off('close', done);
      resolve();
    };
    output.on('drain', done);
    output.on('close', done);
  });
}
