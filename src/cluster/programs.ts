// The programs of a cluster: where their bundles are and how they are called.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { containerdConfigPath } from './containerd-config.ts';
import { type ClusterLayout, type NodeLayout, weftHome } from './layout.ts';

/** The folder of the project: the nearest one upwards with a package.json. */
export function projectRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`${import.meta.dirname} is not inside of Weft's folder (no package.json)`);
    folder = parent;
  }
  return folder;
}

type Bundle = 'supervisor' | 'control-plane' | 'agent';

/**
 * Flags of the processes that run for as long as the cluster does: small young generation and one helper thread for
 * garbage collection, because memory matters more here than throughput.
 */
const frugal = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', '--v8-pool-size=1'];

function node(bundle: Bundle, ...args: string[]): string[] {
  return [process.execPath, ...frugal, join(projectRoot(), 'dist', `${bundle}.mjs`), ...args];
}

export function supervisorCommand(layout: ClusterLayout): string[] {
  return node('supervisor', weftHome(), layout.name);
}

export function controlPlaneCommand(layout: ClusterLayout): string[] {
  return node('control-plane', weftHome(), layout.name);
}

export function agentCommand(layout: ClusterLayout, of: NodeLayout): string[] {
  return node('agent', weftHome(), layout.name, of.role);
}

export function containerdCommand(): string[] {
  return ['containerd', '--config', containerdConfigPath];
}

export function supervisorLog(layout: ClusterLayout): string {
  return join(layout.logs, 'supervisor.log');
}
