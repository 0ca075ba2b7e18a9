// Follows the Corefile in the ConfigMap kube-system/coredns: a good one is put in force, a bad one is reported.
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { matchesGlob } from 'node:path';
import type { Cache, Client } from '../k8s/client.ts';
import type { SharedRecorder } from '../k8s/events.ts';
import { configMaps } from '../k8s/resources.ts';
import type { ConfigMap } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { type ConfigFiles, configFileKey, customFolder } from './chain/hosts.ts';
import type { ServerConfig } from './corefile/config.ts';
import { type CorefileReading, type CorefileSource, readCorefile } from './corefile/corefile.ts';
import type { Problem } from './corefile/tokens.ts';

/** Where the Corefile is. */
export const corefileKey = { namespace: 'kube-system', name: 'coredns' } as const;
/** Where files are that a Corefile imports as `custom/*.override`: k3s, AKS and others have it. */
const customKey = { namespace: 'kube-system', name: 'coredns-custom' } as const;
const dataKey = 'Corefile';

/** A configuration that is to be put in force, with the text that it was read from. */
export interface ReadConfig {
  readonly config: ServerConfig;
  readonly files: ConfigFiles;
  readonly text: string;
}

export interface FollowOptions {
  readonly client: Client;
  readonly recorder: SharedRecorder;
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The Corefile where there is no ConfigMap. */
  readonly otherwise: string;
  /** Where the last good Corefile is kept: what a server begins with while the API server is away. */
  readonly stateFile?: string;
  /** Puts a configuration in force. */
  apply(config: ReadConfig): Promise<void>;
  /** Told of each Corefile that is refused. */
  onRefused(): void;
}

export interface ConfigFollower {
  /** Resolves when the first configuration is in force. */
  readonly first: Promise<void>;
  stop(): void;
}

/** How long the first configuration may take before the server begins with the default one, in ms. */
const firstPatienceMs = 2000;

/** Starts to follow. Changes are put in force one after the other; a Corefile that cannot be followed changes nothing. */
export function followConfigMap(options: FollowOptions): ConfigFollower {
  const cache = cacheOf(options.client, corefileKey);
  let custom: Cache<ConfigMap> | undefined;
  let current: string | undefined;
  let isStopped = false;
  // The objects of the cluster are listed while the ConfigMap is: mostly they are the same ones.
  let last: Promise<void> = begin(options);
  const takeNow = async (): Promise<void> => {
    const object = cache.get(corefileKey);
    if (isStopped) return;
    if (custom === undefined && namesCustomFiles(object)) {
      custom = cacheOf(options.client, customKey);
      custom.subscribe(take);
      await patiently(custom.synced);
    }
    const before = current;
    current = await takeConfig(options, object && withCustom(object, custom?.get(customKey)), before);
  };
  const take = (): void => {
    last = last.then(takeNow);
  };
  let end = (): void => {};
  const first = patiently(cache.synced).then(async () => {
    if (isStopped) return;
    end = cache.subscribe(take);
    // Without a ConfigMap, or with one that is refused, the default one goes on to be in force.
    await last;
  });
  return {
    first,
    stop() {
      isStopped = true;
      end();
      cache.stop();
      custom?.stop();
    },
  };
}

const cacheOf = (client: Client, { namespace, name }: typeof corefileKey | typeof customKey): Cache<ConfigMap> =>
  client.cache(configMaps, { namespace, fieldSelector: `metadata.name=${name}` });

const namesCustomFiles = (object: ConfigMap | undefined): boolean =>
  /(^|[\s/])custom\//m.test(object?.data?.[dataKey] ?? '');

/** Waits, but not for ever: the API server may be away. */
async function patiently(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, firstPatienceMs);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

/** Both as one: the files of the second one are below `custom/`, as where it is mounted. No key of a ConfigMap has a '/'. */
function withCustom(object: ConfigMap, custom: ConfigMap | undefined): ConfigMap {
  const files = Object.entries(custom?.data ?? {}).map(([key, text]) => [customFolder + key, text] as const);
  return files.length === 0 ? object : { ...object, data: { ...object.data, ...Object.fromEntries(files) } };
}

/** The ConfigMap with the Corefile, and with the files that it may import; undefined where there is none. */
export async function readConfigMap(client: Client): Promise<ConfigMap | undefined> {
  const [object, custom] = await Promise.all(
    [corefileKey, customKey].map((key) => client.get(configMaps, key).catch(() => undefined)),
  );
  return object && withCustom(object, custom);
}

/** Puts what the ConfigMap says in force; the text that is then in force, undefined while none is. */
async function takeConfig(
  options: FollowOptions,
  object: ConfigMap | undefined,
  before: string | undefined,
): Promise<string | undefined> {
  const text = object?.data?.[dataKey];
  if (object === undefined || text === undefined) return applyText(options, options.otherwise, object);
  const signature = JSON.stringify(object.data);
  if (signature === before) return before;
  const reading = await readCorefile(text, sourceOf(options, object));
  report(options, object, reading);
  if (reading.config === undefined) {
    options.onRefused();
    return before;
  }
  await options.apply({ config: reading.config, files: filesOf(object), text });
  await keep(options.stateFile, signature);
  if (before !== undefined) tell(options, object, 'Normal', 'CorefileLoaded', 'The Corefile is in force.');
  return signature;
}

/** The last good Corefile from disk, or the default one. */
async function begin(options: FollowOptions): Promise<void> {
  const kept = await recall(options.stateFile);
  if (kept?.data?.[dataKey] !== undefined)
    try {
      await applyText(options, kept.data[dataKey], kept);
      return;
    } catch (error) {
      options.log.warn({ error: String(error) }, 'the Corefile from before is not followed');
    }
  await applyText(options, options.otherwise, undefined);
}

/** Whole or not at all; a disk that is full is no reason not to answer. */
async function keep(file: string | undefined, data: string): Promise<void> {
  if (file === undefined) return;
  try {
    await writeFile(`${file}.part`, data, { mode: 0o600 });
    await rename(`${file}.part`, file);
  } catch {
    // The next change is kept again.
  }
}

async function recall(file: string | undefined): Promise<ConfigMap | undefined> {
  if (file === undefined) return undefined;
  try {
    const data: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof data !== 'object' || data === null) return undefined;
    const entries = Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
    return { apiVersion: 'v1', kind: 'ConfigMap', metadata: corefileKey, data: Object.fromEntries(entries) };
  } catch {
    return undefined;
  }
}

async function applyText(options: FollowOptions, text: string, object: ConfigMap | undefined): Promise<string> {
  const reading = await readCorefile(text, sourceOf(options, object));
  if (reading.config === undefined)
    throw new Error(`the default Corefile: ${reading.problems.map(problemText).join('; ')}`);
  await options.apply({ config: reading.config, files: filesOf(object), text });
  return text;
}

/** `Corefile:12: the plugin etcd is not supported`. */
export const problemText = ({ line, text }: Problem): string => `${dataKey}:${line}: ${text}`;

/** How the Corefile of a ConfigMap is read: files beside it are other keys of the ConfigMap. */
export function sourceOf(
  { environment }: { environment: Readonly<Record<string, string | undefined>> },
  object: ConfigMap | undefined,
): CorefileSource {
  return {
    environment,
    importFiles(pattern) {
      const key = configFileKey(pattern);
      if (key === undefined) return undefined;
      const names = Object.keys(object?.data ?? {}).filter((name) => name !== dataKey && matchesGlob(name, key));
      return names.sort().map((name) => ({ name, text: object?.data?.[name] ?? '' }));
    },
    readFile(path: string): string {
      const key = configFileKey(path);
      const text = key === undefined ? undefined : object?.data?.[key];
      if (text === undefined) throw new Error('it is no key of the ConfigMap');
      return text;
    },
  };
}

const filesOf = (object: ConfigMap | undefined): ConfigFiles => ({ get: (name) => object?.data?.[name] });

function report(options: FollowOptions, object: ConfigMap, reading: CorefileReading): void {
  const { log } = options;
  const warnings = reading.warnings.map(problemText);
  for (const warning of warnings) log.warn({ configMap: 'kube-system/coredns' }, warning);
  if (warnings.length > 0) tell(options, object, 'Normal', 'CorefileWithoutEffect', warnings.join('; '));
  if (reading.config !== undefined) return;
  const problems = reading.problems.map(problemText);
  for (const problem of problems) log.error({ configMap: 'kube-system/coredns' }, problem);
  const stays = 'The last good configuration stays in force.';
  tell(options, object, 'Warning', 'CorefileRefused', `${problems.join('; ')}. ${stays}`);
}

/** Every server of the cluster has something to tell of a change: it is one Event all the same. */
function tell(
  { recorder }: FollowOptions,
  object: ConfigMap,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): void {
  const { uid, resourceVersion } = object.metadata;
  const all = JSON.stringify([uid, resourceVersion, object.data, reason]);
  recorder.eventOnce(object, type, reason, message, createHash('sha256').update(all).digest('hex').slice(0, 16));
}
