// The mounts of a container: its volumes with sub-paths, /etc/hosts, and the file for its last words.
import { chmod, mkdir, realpath, stat, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { Container, VolumeMount } from '../../k8s/types.generated.ts';
import type { Message, Request } from '../cri/protocol.ts';
import type { VolumePaths } from '../volume/volumes.ts';
import { terminationPath } from './config.ts';
import { ConfigError } from './env.ts';
import { expand } from './expand.ts';

export interface MountInput {
  readonly container: Container;
  readonly volumes: VolumePaths;
  readonly environment: readonly { readonly key: string; readonly value: string }[];
  /** The pod's hosts file on the node; absent where the container brings its own mount of /etc/hosts. */
  readonly etcHosts: string;
  /** The file for the termination message; it is made here. */
  readonly terminationLog: string;
}

/** The mounts as CRI takes them; makes missing folders of sub-paths. Throws a ConfigError where one cannot be made. */
export async function containerMounts(input: MountInput): Promise<Request<'Mount'>[]> {
  const { container } = input;
  const values = new Map(input.environment.map(({ key, value }) => [key, value]));
  const mounts: Request<'Mount'>[] = [];
  for (const mount of container.volumeMounts ?? []) {
    const volume = input.volumes.get(mount.name);
    if (volume === undefined)
      throw new ConfigError(`the volume ${mount.name} of a volumeMount is not in the pod's spec`);
    const subPath = mount.subPathExpr ? expand(mount.subPathExpr, (name) => values.get(name)) : (mount.subPath ?? '');
    mounts.push({
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      hostPath: await within(volume, subPath),
      readonly: mount.readOnly === true,
      propagation: propagationOf(mount),
    });
  }
  const taken = new Set(mounts.map(({ containerPath = '' }) => normalize(containerPath)));
  if (!taken.has('/etc/hosts')) mounts.push({ containerPath: '/etc/hosts', hostPath: input.etcHosts });
  await mkdir(dirname(input.terminationLog), { recursive: true });
  // Any user of the container may write its last words.
  await writeFile(input.terminationLog, '');
  await chmod(input.terminationLog, 0o666);
  mounts.push({ containerPath: terminationPath(container), hostPath: input.terminationLog });
  return mounts;
}

function propagationOf({ mountPropagation }: VolumeMount): Message<'Mount'>['propagation'] {
  if (mountPropagation === 'HostToContainer') return 'PROPAGATION_HOST_TO_CONTAINER';
  if (mountPropagation === 'Bidirectional') return 'PROPAGATION_BIDIRECTIONAL';
  return 'PROPAGATION_PRIVATE';
}

/** The path of a sub-path of a volume; a symbolic link that leads out of the volume is refused. */
async function within(volume: string, subPath: string): Promise<string> {
  if (subPath === '') return volume;
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw new ConfigError(`the subPath ${JSON.stringify(subPath)} must be relative and must not contain '..'`);
  const path = join(volume, subPath);
  const root = await realpath(volume);
  const present = await nearest(path);
  if (present !== root && !present.startsWith(`${root}/`))
    throw new ConfigError(`the subPath ${JSON.stringify(subPath)} leads out of its volume`);
  await makeLike(volume, path);
  return realpath(path);
}

/** Makes the missing folders down to the path with the volume's own mode: who may write there may write here. */
async function makeLike(volume: string, path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined)) !== undefined) return;
  const { mode } = await stat(volume);
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  // The mode of mkdir is cut by the umask.
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await chmod(folder, mode & 0o7777);
}

/** The real path of the deepest part of a path that exists. */
async function nearest(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return nearest(dirname(path));
  }
}
