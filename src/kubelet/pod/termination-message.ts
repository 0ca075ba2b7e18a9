// The last words of a container: its termination message file, or the end of its log.
import { open } from 'node:fs/promises';
import type { Message } from '../cri/protocol.ts';
import { annotation } from './names.ts';

const maxMessageBytes = 4096;
const maxLogBytes = 2048;
const maxLogLines = 80;

/**
 * The termination message of an ended container, or undefined where it left none: the file at its terminationMessagePath;
 * with the policy FallbackToLogsOnError and an error, the end of its log.
 */
export async function readTerminationMessage(status: Message<'ContainerStatus'>): Promise<string | undefined> {
  const path = status.annotations[annotation.terminationMessagePath];
  const file = status.mounts.find(({ containerPath }) => containerPath === path)?.hostPath;
  const text = path === undefined || file === undefined ? '' : await readTail(file, maxMessageBytes);
  if (text !== '') return text;
  const fallback = status.annotations[annotation.terminationMessagePolicy] === 'FallbackToLogsOnError';
  if (!fallback || status.exitCode === 0 || status.logPath === '') return undefined;
  const log = messageFromLog(await readTail(status.logPath, 4 * maxLogBytes));
  return log === '' ? undefined : log;
}

/** The text of the last lines of a log in CRI's format: at most 80 lines and 2048 bytes. */
export function messageFromLog(log: string): string {
  const lines = log
    .split('\n')
    .map((line) => /^\S+ (?:stdout|stderr) ([FP])\S* ?(.*)$/s.exec(line))
    .filter((match) => match !== null)
    .map(([, tag, text = '']) => (tag === 'P' ? text : `${text}\n`));
  return lines.slice(-maxLogLines).join('').slice(-maxLogBytes);
}

async function readTail(path: string, bytes: number): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const length = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position: size - length });
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    // The container's folder is gone or the file was never made: no message.
    return '';
  }
}
