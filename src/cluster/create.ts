// `up`: makes a cluster, or brings one back, by starting its supervisor and following it until all is ready.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listMounts, mountFilesystem, setPropagation } from '../linux/mount.ts';
import { familyOf } from '../net/address.ts';
import { listening } from './byte-relay.ts';
import { type ClusterLayout, runRoot, weftHome } from './layout.ts';
import { ensureFabricPrograms, ensureProxyPrograms, requireWireguard } from './optional-programs.ts';
import { supervisorCommand, supervisorLog } from './programs.ts';
import type { ProgressEvent } from './progress.ts';
import { checkKernelFor } from './proxy-mode.ts';
import { rememberNamedNetnsFolder } from './remove.ts';
import type { ClusterSettings } from './settings.ts';
import { SettingsError } from './settings-error.ts';
import { otherHome, writeHome, writeSettings } from './stored-settings.ts';
import { askSupervisor, followProgress } from './supervisor-socket.ts';

/** Whether the cluster of that layout runs and has come up. */
export async function isRunning(layout: Pick<ClusterLayout, 'supervisorSocket'>): Promise<boolean> {
  return (await askSupervisor(layout.supervisorSocket))?.ready === true;
}

/** Refuses, before anything is made, what would fail on this machine. */
export async function checkMachine(settings: ClusterSettings, layout: ClusterLayout): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('Weft makes network namespaces and must be run as root: try sudo');
  const ipv6 = settings.podCidrs.find((range) => familyOf(range) === 'IPv6');
  if (ipv6 !== undefined && !existsSync('/proc/sys/net/ipv6'))
    throw new SettingsError(`--pod-cidr ${ipv6}: IPv6 is switched off in this machine's kernel (ipv6.disable)`);
  if (settings.encrypt) requireWireguard();
  await checkKernelFor(settings);
  const elsewhere = otherHome(settings.name);
  if (elsewhere !== undefined)
    throw new SettingsError(
      `--name ${settings.name}: a cluster of that name runs with WEFT_HOME=${elsewhere}; choose another`,
    );
  for (const name of [layout.underlayNetns, layout.routerNetns, ...layout.nodes.map((node) => node.name)])
    if (existsSync(join('/run/netns', name)) && !existsSync(layout.state))
      throw new Error(
        `a network namespace '${name}' is there already, and it is not of a cluster that Weft knows: remove it by './weft down --name ${settings.name}' if it is left of one, or choose another --name`,
      );
  if ((await askSupervisor(layout.supervisorSocket)) !== undefined) return;
  if (settings.apiPort !== undefined) await checkPort(settings.apiPort, '--api-port');
  else if (existsSync(layout.apiPortFile))
    await checkPort(
      Number(readFileSync(layout.apiPortFile, 'utf8')),
      `the API server's port of cluster '${settings.name}'`,
    );
}

async function checkPort(port: number, what: string): Promise<void> {
  const server = createServer();
  try {
    await listening(server, { host: '127.0.0.1', port });
  } catch (error) {
    const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    throw new SettingsError(
      `${what} ${port}: ${taken ? `127.0.0.1:${port} is in use by another process` : String(error)}`,
    );
  } finally {
    server.close();
  }
}

/** Starts the supervisor of a cluster and tells what it says, until the cluster is ready. Throws where it fails. */
export async function bringUp(
  settings: ClusterSettings,
  layout: ClusterLayout,
  tell: (event: ProgressEvent) => void,
): Promise<void> {
  await ensureFabricPrograms(settings.fabric);
  await ensureProxyPrograms(settings.proxyMode);
  prepareFolders(settings, layout);
  let child: ReturnType<typeof launch> | undefined;
  for (let attempt = 0; attempt < 400; attempt++) {
    for await (const event of followProgress(layout.supervisorSocket)) {
      tell(event);
      if (event.type === 'ready') return;
      if (event.type === 'failed') throw new Error(event.message);
    }
    child ??= launch(layout);
    if (child.exitCode !== null && child.exitCode !== 0)
      throw new Error(`the supervisor ended at its start; see ${supervisorLog(layout)}`);
    await delay(10);
  }
  throw new Error(`the supervisor does not answer; see ${supervisorLog(layout)}`);
}

/** The state folder with the settings, and the run folder, a small file system of its own in memory. */
function prepareFolders(settings: ClusterSettings, layout: ClusterLayout): void {
  mkdirSync(weftHome(), { recursive: true, mode: 0o700 });
  if (!existsSync(layout.settingsFile)) writeSettings(settings);
  mkdirSync(layout.logs, { recursive: true, mode: 0o700 });
  mkdirSync(runRoot, { recursive: true, mode: 0o700 });
  rememberNamedNetnsFolder();
  mkdirSync(layout.run, { recursive: true, mode: 0o700 });
  // Files that pin mount namespaces must lie where mounts do not travel to other namespaces.
  if (!listMounts().some(({ target }) => target === layout.run)) {
    mountFilesystem('tmpfs', layout.run, { type: 'tmpfs', data: 'mode=0700' });
    setPropagation(layout.run, 'private');
  }
  writeHome(layout.name);
  rmSync(layout.stopping, { force: true });
}

function launch(layout: ClusterLayout) {
  const [file = '', ...args] = supervisorCommand(layout);
  const log = openSync(supervisorLog(layout), 'a', 0o600);
  try {
    const child = spawn(file, args, { cwd: '/', detached: true, stdio: ['ignore', log, log] });
    child.on('error', () => {});
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}
