// What only some choices need on the machine: Debian packages, installed when one is first chosen, and of the kernel.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { FabricKindName, ProxyMode } from '../k8s/network-config.ts';
import { hasWireguard } from '../linux/wireguard.ts';
import { projectRoot } from './programs.ts';

/** A program, and the Debian package that holds it. */
interface Needed {
  readonly program: string;
  readonly from: string;
}

const ofFabric: Readonly<Partial<Record<FabricKindName, Needed>>> = {
  bgp: { program: 'bird', from: 'bird2' },
};
const iptables: Needed = { program: 'iptables-restore', from: 'iptables' };
const ofProxyMode: Readonly<Partial<Record<ProxyMode, Needed>>> = { iptables, ipvs: iptables };

/** Installs what the fabric needs and this machine lacks. Throws an Error that names the package where it cannot. */
export async function ensureFabricPrograms(fabric: FabricKindName): Promise<void> {
  await ensure(ofFabric[fabric], `the fabric ${fabric}`);
}

/** Installs what the proxy mode needs and this machine lacks. Throws an Error that names the package where it cannot. */
export async function ensureProxyPrograms(mode: ProxyMode): Promise<void> {
  await ensure(ofProxyMode[mode], `the proxy mode ${mode}`);
}

async function ensure(needed: Needed | undefined, by: string): Promise<void> {
  if (needed === undefined || isInstalled(needed.program)) return;
  const child = spawn(join(projectRoot(), 'scripts', 'install-packages'), [needed.from], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [status] = await once(child, 'exit');
  if (status !== 0 || !isInstalled(needed.program))
    throw new Error(`${by} needs Debian's package ${needed.from}, which could not be installed`);
}

/** Throws an Error where the kernel cannot encrypt what pods say to other nodes. */
export function requireWireguard(): void {
  if (hasWireguard()) return;
  throw new Error(
    `--encrypt needs WireGuard, which this kernel (${release()}) does not have, nor a module wireguard: leave it out, or choose a kernel with it`,
  );
}

function isInstalled(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
