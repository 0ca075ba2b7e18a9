// What every process of a cluster does at its start and at its end.
import { flushCompileCache } from 'node:module';
import { guardSupervisor } from '../cluster/guard.ts';
import type { ClusterLayout } from '../cluster/layout.ts';
import { createLog, type Log } from '../log/log.ts';

const keepCompiledAfterMs = 10_000;

export interface Started {
  readonly layout: ClusterLayout;
  /** The name under which the supervisor knows this process; it then keeps the supervisor alive in turn. */
  readonly guardedAs?: string;
}

/**
 * Runs a process: an error at the start, or one that nobody handles later, is logged and ends it, and the supervisor
 * starts it anew: a process in an unknown state is worth less than a new one.
 */
export async function runProcess(part: string, start: (log: Log) => Promise<Started>): Promise<void> {
  const log = createLog(part);
  const fail = (error: unknown): void => {
    log.fatal({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'ends');
    process.exit(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  process.on('SIGTERM', () => process.exit(0));
  process.on('SIGINT', () => process.exit(0));
  try {
    const { layout, guardedAs } = await start(log);
    if (guardedAs !== undefined) guardSupervisor(layout, guardedAs, log);
    log.info({ ms: Math.round(performance.now()), pid: process.pid }, 'started');
    // The next start is faster by what this one has compiled; nobody waits for that to be written.
    setTimeout(flushCompileCache, keepCompiledAfterMs).unref();
  } catch (error) {
    fail(error);
  }
}
