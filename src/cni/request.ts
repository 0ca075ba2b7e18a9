// What the runtime asks for: the environment and the configuration of one call, validated. Pure.
import { isRecord } from '../k8s/json.ts';
import { previousResult } from './previous-result.ts';
import {
  type Attachment,
  CniError,
  type CniVersion,
  errorCode,
  newestVersion,
  parseVersion,
  type Result,
  supportedVersions,
} from './protocol.ts';
import { parseWishes, type Wishes } from './wishes.ts';

interface Common {
  readonly version: CniVersion;
  /** The name of the network, from the configuration. */
  readonly network: string;
}

export type CniRequest =
  | (Common & {
      readonly command: 'ADD';
      readonly attachment: Attachment;
      readonly netns: string;
      readonly pod: string;
      readonly wishes: Wishes;
      readonly previous: Result | undefined;
    })
  | (Common & { readonly command: 'DEL'; readonly attachment: Attachment; readonly netns: string | undefined })
  | (Common & {
      readonly command: 'CHECK';
      readonly attachment: Attachment;
      readonly netns: string;
      readonly previous: Result;
    })
  | (Common & { readonly command: 'GC'; readonly valid: readonly Attachment[] })
  | (Common & { readonly command: 'STATUS' })
  | (Common & { readonly command: 'VERSION' });

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variables that each command needs (SPEC.md section 2). */
const required: Record<CniRequest['command'], readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  GC: ['CNI_PATH'],
  STATUS: ['CNI_PATH'],
  VERSION: [],
};

const isCommand = (text: string): text is CniRequest['command'] => Object.hasOwn(required, text);

/** Reads one call; throws CniError with the code that the specification has for what is wrong, and names all of it. */
export function parseRequest(env: Environment, stdin: string): CniRequest {
  const command = commandOf(env);
  const args = parseArguments(env.CNI_ARGS ?? '');
  const problems = [...environmentProblems(env, command), ...args.problems];
  if (problems.length > 0) throw new CniError(errorCode.invalidEnvironment, problems.join('; '));
  const config = parseConfig(stdin);
  const common = { version: versionOf(config), network: '' };
  if (command === 'VERSION') return { ...common, command };
  const wrong: string[] = [];
  const request = requestOf(
    command,
    { env, config, args: args.pairs, common: { ...common, network: networkOf(config, wrong) } },
    wrong,
  );
  if (wrong.length > 0) throw new CniError(errorCode.invalidConfiguration, wrong.join('; '));
  return request;
}

interface Parts {
  readonly env: Environment;
  readonly config: Json;
  readonly args: ReadonlyMap<string, string>;
  readonly common: Common;
}

/** The request of a command; what is wrong with the configuration is noted. */
function requestOf(
  command: Exclude<CniRequest['command'], 'VERSION'>,
  { env, config, args, common }: Parts,
  wrong: string[],
): CniRequest {
  const [attachment, netns] = [attachmentOf(env), env.CNI_NETNS ?? ''];
  switch (command) {
    case 'STATUS':
      return { ...common, command };
    case 'GC':
      return { ...common, command, valid: validAttachments(config, wrong) };
    case 'DEL':
      return { ...common, command, attachment, netns: netns || undefined };
    case 'ADD': {
      const previous = previousResult(config);
      return {
        ...common,
        command,
        attachment,
        netns,
        pod: podOf(args),
        wishes: parseWishes(config, args, wrong),
        previous,
      };
    }
    case 'CHECK': {
      const previous = previousResult(config);
      if (previous === undefined) wrong.push('CHECK needs prevResult');
      return { ...common, command, attachment, netns, previous: previous ?? { interfaces: [], ips: [], routes: [] } };
    }
  }
}

function commandOf(env: Environment): CniRequest['command'] {
  const command = env.CNI_COMMAND ?? '';
  if (isCommand(command)) return command;
  const why = command === '' ? 'CNI_COMMAND is missing' : `CNI_COMMAND is '${command}', which is no command of CNI`;
  throw new CniError(errorCode.invalidEnvironment, why);
}

/** All that is wrong with the variables that the command needs: those that are missing, and those that are no names. */
function environmentProblems(env: Environment, command: CniRequest['command']): string[] {
  const needed = required[command];
  const missing = needed.filter((name) => (env[name] ?? '') === '');
  const { containerId, ifname } = attachmentOf(env);
  return [
    ...(missing.length > 0 ? [`${command} needs variables that are missing: ${missing.join(', ')}`] : []),
    ...(needed.includes('CNI_CONTAINERID') && containerId !== '' && !plainName.test(containerId)
      ? [`CNI_CONTAINERID '${containerId}' is not valid`]
      : []),
    ...(needed.includes('CNI_IFNAME') && ifname !== '' && !isInterfaceName(ifname)
      ? [`CNI_IFNAME '${ifname}' cannot name an interface`]
      : []),
  ];
}

/** The version in which an error about this call is to be written: its own where it can be read. */
export function versionForErrors(stdin: string): CniVersion {
  try {
    return versionOf(parseConfig(stdin));
  } catch {
    return newestVersion;
  }
}

type Json = Readonly<Record<string, unknown>>;

function parseConfig(stdin: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    throw new CniError(errorCode.decodingFailure, 'the configuration on standard input is not JSON', String(error));
  }
  if (!isRecord(value)) throw new CniError(errorCode.decodingFailure, 'the configuration is not a JSON object');
  return value;
}

function versionOf(config: Json): CniVersion {
  const text = config.cniVersion ?? '0.1.0';
  const version = typeof text === 'string' ? parseVersion(text) : undefined;
  if (version === undefined)
    throw new CniError(
      errorCode.incompatibleVersion,
      `cniVersion ${JSON.stringify(text)} is not supported`,
      `supported are ${supportedVersions.join(', ')}`,
    );
  return version;
}

const plainName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

function networkOf({ name }: Json, wrong: string[]): string {
  if (typeof name === 'string' && plainName.test(name)) return name;
  wrong.push(
    name === undefined ? "the network's name is missing" : `the network's name ${JSON.stringify(name)} is not valid`,
  );
  return '';
}

const attachmentOf = (env: Environment): Attachment => ({
  containerId: env.CNI_CONTAINERID ?? '',
  ifname: env.CNI_IFNAME ?? '',
});

/** The kernel's rule for names of interfaces (dev_valid_name). */
export function isInterfaceName(name: string): boolean {
  return name !== '.' && name !== '..' && Buffer.byteLength(name) < 16 && /^[^/:\s\0]+$/.test(name);
}

/** The pairs of CNI_ARGS: `KEY=VALUE;KEY=VALUE`. */
function parseArguments(text: string): { pairs: Map<string, string>; problems: string[] } {
  const pairs = new Map<string, string>();
  const problems: string[] = [];
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0) pairs.set(pair.slice(0, at), pair.slice(at + 1));
    else if (pair !== '') problems.push(`CNI_ARGS has '${pair}', which is not KEY=VALUE`);
  }
  return { pairs, problems };
}

/** `namespace/name` as kubelets send them, for messages and events alone. */
function podOf(args: ReadonlyMap<string, string>): string {
  const name = args.get('K8S_POD_NAME');
  return name === undefined ? '' : `${args.get('K8S_POD_NAMESPACE') ?? ''}/${name}`;
}

/**
 * What GC must keep. Absent is an error, not an empty list: nothing must be collected because a field was left out. The
 * second name is that of runtimes from before the specification was final.
 */
function validAttachments(config: Json, wrong: string[]): Attachment[] {
  const field = 'cni.dev/valid-attachments';
  const list = config[field] ?? config['cni.dev/attachments'];
  const valid = (Array.isArray(list) ? list : []).flatMap((entry: unknown) => {
    const { containerID, ifname } = isRecord(entry) ? entry : {};
    return typeof containerID === 'string' && typeof ifname === 'string' ? [{ containerId: containerID, ifname }] : [];
  });
  if (!Array.isArray(list) || valid.length < list.length)
    wrong.push(`GC needs ${field}: a list of objects with containerID and ifname`);
  return valid;
}
