// How the shim hands over a call: `NAME=value` pairs, each ended by a zero byte, one more zero byte, then the
// configuration. The answer is the exit code, a line feed, and what goes to standard output.
import type { Environment } from './request.ts';

export interface Call {
  readonly env: Environment;
  readonly stdin: string;
}

/** Takes a call apart; undefined where the zero byte that ends the variables is missing. */
export function parseCall(frame: Buffer): Call | undefined {
  const env: Record<string, string> = {};
  for (let at = 0; ; ) {
    const end = frame.indexOf(0, at);
    if (end < 0) return undefined;
    if (end === at) return { env, stdin: frame.toString('utf8', end + 1) };
    const pair = frame.toString('utf8', at, end);
    const equals = pair.indexOf('=');
    if (equals > 0) env[pair.slice(0, equals)] = pair.slice(equals + 1);
    at = end + 1;
  }
}

export function encodeCall(call: Call): Buffer {
  const pairs = Object.entries(call.env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}\0`],
  );
  return Buffer.from(`${pairs.join('')}\0${call.stdin}`);
}

export interface Answer {
  readonly exitCode: 0 | 1;
  readonly stdout: string;
}

export function encodeAnswer(answer: Answer): Buffer {
  return Buffer.from(`${answer.exitCode}\n${answer.stdout}`);
}

/** The answer in a frame; undefined where the frame is cut off. */
export function parseAnswer(frame: string): Answer | undefined {
  const match = /^([01])\n(.*)$/s.exec(frame);
  return match === null ? undefined : { exitCode: match[1] === '0' ? 0 : 1, stdout: match[2] ?? '' };
}
