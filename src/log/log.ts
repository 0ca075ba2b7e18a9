// Logging: one line of JSON an event, to standard error, for every long-running process.
import { type Logger, pino } from 'pino';

export type Log = Logger;

/** A log for a part of Weft; WEFT_LOG sets the level (trace, debug, info, warn, error, silent; default info). */
export function createLog(part: string): Log {
  return pino(
    { name: part, level: process.env.WEFT_LOG ?? 'info', base: undefined },
    pino.destination({ dest: 2, sync: true }),
  ).child({
    part,
  });
}
