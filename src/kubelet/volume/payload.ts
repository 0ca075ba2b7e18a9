// The files of volumes that show API objects: configMap, secret, downwardAPI, projected. Pure. Rules: kubernetes
// pkg/volume/{configmap,secret,downwardapi,projected}.
import type {
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  Pod,
  ProjectedVolumeSource,
  Secret,
  Volume,
} from '../../k8s/types.generated.ts';
import { type FieldSource, fieldValue, resourceValue } from '../container/fields.ts';

export interface File {
  readonly data: Buffer;
  /** Permission bits, such as 0o644. */
  readonly mode: number;
}

/** Relative paths (never with `..`) to files. */
export type Payload = ReadonlyMap<string, File>;

/** A volume cannot be made from its spec as things are; the pod waits and it is tried again. */
export class VolumeError extends Error {
  override readonly name = 'VolumeError';
}

export interface PayloadSources {
  /** undefined where the object does not exist. */
  readonly configMap: (name: string) => ConfigMap | undefined;
  readonly secret: (name: string) => Secret | undefined;
  /** The present token of a serviceAccountToken source. */
  readonly token: (source: { audience: string; expirationSeconds: number }) => string;
  readonly fields: FieldSource;
}

const defaultMode = 0o644;

/** The files of one volume, or undefined where it is of another type. Throws a VolumeError where something is missing. */
export function payloadOf(pod: Pod, volume: Volume, sources: PayloadSources): Payload | undefined {
  const namespace = pod.metadata.namespace ?? '';
  const files = new Map<string, File>();
  if (volume.configMap !== undefined) {
    const { name = '', items, optional, defaultMode: mode = defaultMode } = volume.configMap;
    addKeys(files, configMapData(name, sources, optional), `configmap ${namespace}/${name}`, items, mode, optional);
  } else if (volume.secret !== undefined) {
    const { secretName = '', items, optional, defaultMode: mode = defaultMode } = volume.secret;
    addKeys(
      files,
      secretData(secretName, sources, optional),
      `secret ${namespace}/${secretName}`,
      items,
      mode,
      optional,
    );
  } else if (volume.downwardAPI !== undefined) {
    addFields(files, pod, volume.downwardAPI.items, volume.downwardAPI.defaultMode ?? defaultMode, sources.fields);
  } else if (volume.projected !== undefined) {
    addProjected(files, pod, volume.projected, sources);
  } else return undefined;
  return files;
}

function addProjected(files: Map<string, File>, pod: Pod, projected: ProjectedVolumeSource, sources: PayloadSources) {
  const mode = projected.defaultMode ?? defaultMode;
  const namespace = pod.metadata.namespace ?? '';
  for (const { configMap, secret, downwardAPI, serviceAccountToken, ...other } of projected.sources ?? []) {
    if (configMap !== undefined) {
      const { name = '', items, optional } = configMap;
      addKeys(files, configMapData(name, sources, optional), `configmap ${namespace}/${name}`, items, mode, optional);
    } else if (secret !== undefined) {
      const { name = '', items, optional } = secret;
      addKeys(files, secretData(name, sources, optional), `secret ${namespace}/${name}`, items, mode, optional);
    } else if (downwardAPI !== undefined) {
      addFields(files, pod, downwardAPI.items, mode, sources.fields);
    } else if (serviceAccountToken !== undefined) {
      const { audience = '', expirationSeconds = 3600, path } = serviceAccountToken;
      files.set(safePath(path), {
        data: Buffer.from(sources.token({ audience, expirationSeconds })),
        mode: tokenMode(pod, mode),
      });
    } else {
      const [type = 'unknown'] = Object.keys(other);
      throw new VolumeError(`projected sources of the type ${type} are not offered by this kubelet`);
    }
  }
}

/** A token is for its readers alone where they are known: the group of fsGroup, or the one user of all containers. */
function tokenMode(pod: Pod, mode: number): number {
  if (pod.spec.securityContext?.fsGroup !== undefined) return 0o600;
  return tokenOwner(pod) === undefined ? mode : 0o600;
}

/** The one user that all containers of a pod run as, where the spec says so. */
export function tokenOwner(pod: Pod): number | undefined {
  const users = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(
    ({ securityContext }) => securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser,
  );
  return users.every((user) => user === users[0]) ? users[0] : undefined;
}

type Data = ReadonlyMap<string, Buffer>;

function configMapData(name: string, sources: PayloadSources, optional?: boolean): Data {
  const found = sources.configMap(name);
  if (found === undefined && optional !== true) throw new VolumeError(`configmap "${name}" not found`);
  return new Map([
    ...Object.entries(found?.data ?? {}).map(([key, text]): [string, Buffer] => [key, Buffer.from(text)]),
    ...Object.entries(found?.binaryData ?? {}).map(([key, text]): [string, Buffer] => [
      key,
      Buffer.from(text, 'base64'),
    ]),
  ]);
}

function secretData(name: string, sources: PayloadSources, optional?: boolean): Data {
  const found = sources.secret(name);
  if (found === undefined && optional !== true) throw new VolumeError(`secret "${name}" not found`);
  return new Map(Object.entries(found?.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64')]));
}

function addKeys(
  files: Map<string, File>,
  data: Data,
  what: string,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional = false,
): void {
  if (items === undefined || items.length === 0) {
    for (const [key, bytes] of data) files.set(safePath(key), { data: bytes, mode });
    return;
  }
  for (const item of items) {
    const bytes = data.get(item.key);
    if (bytes !== undefined) files.set(safePath(item.path), { data: bytes, mode: item.mode ?? mode });
    else if (!optional) throw new VolumeError(`references non-existent key: ${item.key} of ${what}`);
  }
}

function addFields(
  files: Map<string, File>,
  pod: Pod,
  items: readonly DownwardAPIVolumeFile[] = [],
  mode: number,
  fields: FieldSource,
): void {
  const [first] = pod.spec.containers;
  for (const { path, fieldRef, resourceFieldRef, mode: own } of items) {
    const text =
      fieldRef !== undefined
        ? fieldValue(pod, fieldRef.fieldPath, fields)
        : resourceFieldRef !== undefined && first !== undefined
          ? resourceValue(pod, first, resourceFieldRef, fields)
          : '';
    files.set(safePath(path), { data: Buffer.from(text), mode: own ?? mode });
  }
}

/** The path itself; throws where it leads out of the volume or into the writer's own files. */
export function safePath(path: string): string {
  const parts = path.split('/');
  const bad = path === '' || path.startsWith('/') || parts.some((part) => part === '..' || part === '' || part === '.');
  if (bad || parts[0]?.startsWith('..')) throw new VolumeError(`invalid path ${JSON.stringify(path)} in a volume`);
  return path;
}

/** The names of ConfigMaps and Secrets that a pod refers to anywhere. */
export function referencesOf(pod: Pod): {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
} {
  const configMaps = new Set<string | undefined>();
  const secrets = new Set<string | undefined>();
  for (const { configMap, secret, projected } of pod.spec.volumes ?? []) {
    configMaps.add(configMap?.name);
    secrets.add(secret?.secretName);
    for (const source of projected?.sources ?? []) {
      configMaps.add(source.configMap?.name);
      secrets.add(source.secret?.name);
    }
  }
  const containers = [
    ...(pod.spec.initContainers ?? []),
    ...pod.spec.containers,
    ...(pod.spec.ephemeralContainers ?? []),
  ];
  for (const { env = [], envFrom = [] } of containers) {
    for (const { configMapRef, secretRef } of envFrom) {
      configMaps.add(configMapRef?.name);
      secrets.add(secretRef?.name);
    }
    for (const { valueFrom } of env) {
      configMaps.add(valueFrom?.configMapKeyRef?.name);
      secrets.add(valueFrom?.secretKeyRef?.name);
    }
  }
  for (const { name } of pod.spec.imagePullSecrets ?? []) secrets.add(name);
  const named = (names: ReadonlySet<string | undefined>): ReadonlySet<string> =>
    new Set([...names].filter((name) => name !== undefined && name !== '') as string[]);
  return { configMaps: named(configMaps), secrets: named(secrets) };
}
