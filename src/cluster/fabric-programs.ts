// What a fabric needs on the machine: Debian packages that are installed when it is first chosen, and of the kernel.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { FabricKindName } from '../k8s/network-config.ts';
import { hasWireguard } from '../linux/wireguard.ts';
import { projectRoot } from './programs.ts';

/** The program that a fabric needs, and the Debian package that holds it. */
const programs: Readonly<Partial<Record<FabricKindName, { readonly program: string; readonly from: string }>>> = {
  bgp: { program: 'bird', from: 'bird2' },
};

/** Installs what the fabric needs and this machine lacks. Throws an Error that names the package where it cannot. */
export async function ensureFabricPrograms(fabric: FabricKindName): Promise<void> {
  const needed = programs[fabric];
  if (needed === undefined || isInstalled(needed.program)) return;
  const child = spawn(join(projectRoot(), 'scripts', 'install-packages'), [needed.from], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [status] = await once(child, 'exit');
  if (status !== 0 || !isInstalled(needed.program))
    throw new Error(`the fabric ${fabric} needs Debian's package ${needed.from}, which could not be installed`);
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
