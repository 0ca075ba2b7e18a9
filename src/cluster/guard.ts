// Every Node.js process of a cluster watches the supervisor, and starts a new one when it is gone.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import type { Log } from '../log/log.ts';
import type { ClusterLayout } from './layout.ts';
import { supervisorCommand, supervisorLog } from './programs.ts';

/** The descriptors by which a process inside of a node finds back to the host's namespaces. */
const hostNamespaceFds = { mnt: 3, net: 4, uts: 5 } as const;

/** How long a new supervisor is waited for before the next is started; they agree on one by a lock. */
const patienceMs = 1500;
const retryMs = 50;

/**
 * Keeps a connection to the supervisor. When it drops, another supervisor is started in the host's namespaces, unless
 * one is there already or the cluster is being removed. `name` is the process's name in the cluster.
 */
export function guardSupervisor(layout: ClusterLayout, name: string, log: Log): { stop(): void } {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let connected = false;
  let lastStart = Number.NEGATIVE_INFINITY;
  const again = (ms: number): void => {
    if (!stopped) timer = setTimeout(attempt, ms);
  };
  const attempt = (): void => {
    const socket = connect(layout.supervisorSocket);
    connected = false;
    socket.on('connect', () => {
      connected = true;
      socket.write(`${JSON.stringify({ type: 'guard', name, pid: process.pid })}\n`);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (stopped) return;
      // Just lost: it may be a new one's first moment. Not reachable: it is gone.
      if (connected) return again(Math.floor(Math.random() * 50));
      if (existsSync(layout.stopping) || !existsSync(layout.settingsFile)) return again(patienceMs);
      if (performance.now() - lastStart > patienceMs) {
        log.warn('the supervisor is gone: starting another');
        startSupervisor(layout);
        lastStart = performance.now();
      }
      again(retryMs);
    });
    socket.resume();
    socket.unref();
  };
  attempt();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function startSupervisor(layout: ClusterLayout): void {
  const inherited = Object.values(hostNamespaceFds);
  const command = [
    ...['nsenter', ...Object.entries(hostNamespaceFds).map(([kind, fd]) => `${enterOption[kind]}=/proc/self/fd/${fd}`)],
    ...['--', ...supervisorCommand(layout)],
  ];
  const [file = '', ...args] = command;
  const log = openSync(supervisorLog(layout), 'a', 0o600);
  const child = spawn(file, args, { cwd: '/', detached: true, stdio: ['ignore', log, log, ...inherited] });
  closeSync(log);
  child.on('error', () => {});
  child.unref();
}

const enterOption: Record<string, string> = { mnt: '--mount', net: '--net', uts: '--uts' };
