// What the runtime looks for: the plugin's program, and the network's configuration.
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { supportedVersions } from './protocol.ts';
import { shimSource } from './shim.ts';
import { capabilities } from './wishes.ts';

const pluginName = 'weft-cni';
const configName = '10-weft.conflist';

/**
 * The network's configuration. `cniVersion` is the newest that runtimes of 2022 (containerd 1.6) read; newer ones pick
 * the highest of `cniVersions`.
 */
function networkConfiguration(): object {
  return {
    cniVersion: '1.0.0',
    cniVersions: supportedVersions.filter((version) => version !== '0.3.0'),
    name: 'weft',
    plugins: [{ type: pluginName, capabilities: Object.fromEntries(capabilities.map((name) => [name, true])) }],
  };
}

/** Writes the shim into the folder of plugins. */
export function installShim(binDir: string, options: { socketPath: string; queueDir: string }): void {
  mkdirSync(binDir, { recursive: true, mode: 0o755 });
  writeWhole(join(binDir, pluginName), shimSource(options), 0o755);
}

/** Writes the configuration, which tells the runtime that the network is ready. */
export function installConfiguration(confDir: string): void {
  mkdirSync(confDir, { recursive: true, mode: 0o755 });
  writeWhole(join(confDir, configName), `${JSON.stringify(networkConfiguration(), null, 2)}\n`, 0o644);
}

/** Writes a file so that readers see the old or the new one; does nothing where it is so already. */
function writeWhole(file: string, content: string, mode: number): void {
  if (readOrUndefined(file) === content) {
    chmodSync(file, mode);
    return;
  }
  // The runtime reads every file of its folder whose name ends in .conflist: the new one must not.
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, 'wx', mode);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(fresh, mode);
  renameSync(fresh, file);
}

function readOrUndefined(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
