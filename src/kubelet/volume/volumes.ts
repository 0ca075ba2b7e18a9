// The volumes of pods on the node's disk: made before containers start, kept up to date, removed with the pod.
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume } from '../../k8s/types.generated.ts';
import type { FieldSource } from '../container/fields.ts';
import { bytesOf } from '../container/resources.ts';
import { podKey, podPaths } from '../pod/names.ts';
import { writeAtomically } from './atomic-writer.ts';
import type { Objects } from './objects.ts';
import { type Payload, payloadOf, tokenOwner, VolumeError } from './payload.ts';
import type { Tokens } from './tokens.ts';

/** Where each volume of a pod is on the node, by its name in the spec. */
export type VolumePaths = ReadonlyMap<string, string>;

export interface Volumes {
  /**
   * Makes all volumes of the pod, and brings those that show API objects up to date; it may be called again at any
   * time. Throws a VolumeError that names the first volume that cannot be made.
   */
  prepare(pod: Pod, fields: FieldSource): Promise<VolumePaths>;
  /** Removes what the pod has on the disk. */
  remove(uid: string): Promise<void>;
}

const run = promisify(execFile);

export function createVolumes(options: {
  readonly rootDir: string;
  readonly objects: Objects;
  readonly tokens: Tokens;
}): Volumes {
  const { rootDir, objects, tokens } = options;
  /** What was last written, so that nothing is written twice: by the volume's folder. */
  const written = new Map<string, string>();

  const prepareOne = async (pod: Pod, volume: Volume, payload: Payload | undefined): Promise<string> => {
    const paths = podPaths(rootDir, podKey(pod).uid);
    if (volume.emptyDir !== undefined) {
      const folder = paths.volume('empty-dir', volume.name);
      await makeEmptyDir(folder, volume.emptyDir, pod.spec.securityContext?.fsGroup);
      return folder;
    }
    if (volume.hostPath !== undefined) {
      await checkHostPath(volume.hostPath);
      return volume.hostPath.path;
    }
    const type = Object.keys(volume).find((key) => key !== 'name') ?? 'none';
    if (payload === undefined) throw new VolumeError(`volumes of the type ${type} are not offered by this kubelet`);
    const folder = paths.volume(type.toLowerCase(), volume.name);
    const text = digest(payload);
    if (written.get(folder) !== text) {
      await writeAtomically(folder, payload, { uid: tokenOwner(pod), gid: pod.spec.securityContext?.fsGroup });
      written.set(folder, text);
    }
    return folder;
  };

  return {
    async prepare(pod, fields) {
      const volumes = pod.spec.volumes ?? [];
      const [found] = await Promise.all([objects.read(pod), tokens.prepare(pod)]);
      const token = (source: { audience: string; expirationSeconds: number }): string => tokens.get(pod, source);
      const entries = await Promise.all(
        volumes.map(async (volume): Promise<readonly [string, string]> => {
          try {
            const payload = payloadOf(pod, volume, { ...found, token, fields });
            return [volume.name, await prepareOne(pod, volume, payload)];
          } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${reason}`, { cause: error });
          }
        }),
      );
      return new Map(entries);
    },

    async remove(uid) {
      const paths = podPaths(rootDir, uid);
      for (const folder of written.keys()) if (folder.startsWith(`${paths.pod}/`)) written.delete(folder);
      for (const mounted of await mountsBelow(paths.pod)) await run('umount', ['-l', mounted]);
      await rm(paths.pod, { recursive: true, force: true });
    },
  };
}

function digest(payload: Payload): string {
  return JSON.stringify([...payload].map(([path, { data, mode }]) => [path, mode, data.toString('base64')]));
}

async function makeEmptyDir(folder: string, source: EmptyDirVolumeSource, fsGroup: number | undefined): Promise<void> {
  if ((await stat(folder).catch(() => undefined)) === undefined) {
    await mkdir(folder, { recursive: true });
    // The mode of mkdir is cut by the umask.
    await chmod(folder, 0o777);
  }
  if (source.medium === 'Memory' && !(await mountsBelow(folder)).includes(folder)) {
    const size = source.sizeLimit === undefined ? '' : `,size=${bytesOf(source.sizeLimit)}`;
    await run('mount', ['-t', 'tmpfs', '-o', `mode=0777${size}`, 'tmpfs', folder]);
  } else if (source.medium !== undefined && source.medium !== '' && source.medium !== 'Memory') {
    throw new VolumeError(`an emptyDir of the medium ${source.medium} is not offered by this kubelet`);
  }
  if (fsGroup !== undefined) {
    await chown(folder, 0, fsGroup);
    await chmod(folder, 0o2777);
  }
}

/** The mount points at and below a folder, the deepest first. */
async function mountsBelow(folder: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table
    .split('\n')
    .map((line) => unescapeOctal(line.split(' ')[4] ?? ''))
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

async function checkHostPath({ path, type = '' }: HostPathVolumeSource): Promise<void> {
  if (path.split('/').includes('..')) throw new VolumeError(`the host path ${path} contains '..'`);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined && type === 'DirectoryOrCreate') {
    await mkdir(path, { recursive: true, mode: 0o755 });
    return;
  }
  if (found === undefined && type === 'FileOrCreate') {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '', { mode: 0o644, flag: 'a' });
    return;
  }
  const right: Readonly<Record<string, boolean | undefined>> = {
    '': true,
    DirectoryOrCreate: found?.isDirectory(),
    Directory: found?.isDirectory(),
    FileOrCreate: found?.isFile(),
    File: found?.isFile(),
    Socket: found?.isSocket(),
    CharDevice: found?.isCharacterDevice(),
    BlockDevice: found?.isBlockDevice(),
  };
  if (right[type] !== true) throw new VolumeError(`hostPath type check failed: ${path} is not a ${type.toLowerCase()}`);
}
