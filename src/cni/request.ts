// What the runtime asks for: the environment and the configuration of one call, validated. Pure.
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

/** Reads one call; throws CniError with the code that the specification has for what is wrong. */
export function parseRequest(env: Environment, stdin: string): CniRequest {
  const command = env.CNI_COMMAND ?? '';
  if (!isCommand(command)) {
    const why = command === '' ? 'CNI_COMMAND is missing' : `CNI_COMMAND is '${command}', which is no command of CNI`;
    throw new CniError(errorCode.invalidEnvironment, why);
  }
  const missing = required[command].filter((name) => (env[name] ?? '') === '');
  if (missing.length > 0)
    throw new CniError(
      errorCode.invalidEnvironment,
      `${command} needs variables that are missing: ${missing.join(', ')}`,
    );
  const config = parseConfig(stdin);
  const common = { version: versionOf(config), network: '' };
  if (command === 'VERSION') return { ...common, command };
  const network = networkOf(config);
  switch (command) {
    case 'STATUS':
      return { ...common, network, command };
    case 'GC':
      return { ...common, network, command, valid: validAttachments(config) };
    case 'DEL':
      return { ...common, network, command, attachment: attachmentOf(env), netns: env.CNI_NETNS || undefined };
    case 'ADD': {
      const previous = previousOf(config);
      return {
        ...common,
        network,
        command,
        attachment: attachmentOf(env),
        netns: env.CNI_NETNS ?? '',
        pod: podOf(env),
        previous,
      };
    }
    case 'CHECK': {
      const previous = previousOf(config);
      if (previous === undefined)
        throw new CniError(errorCode.invalidConfiguration, 'CHECK needs prevResult in the configuration');
      return { ...common, network, command, attachment: attachmentOf(env), netns: env.CNI_NETNS ?? '', previous };
    }
  }
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

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseConfig(stdin: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    throw new CniError(errorCode.decodingFailure, 'the configuration on standard input is not JSON', String(error));
  }
  if (!isObject(value)) throw new CniError(errorCode.decodingFailure, 'the configuration is not a JSON object');
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

function networkOf(config: Json): string {
  const name = config.name;
  if (typeof name !== 'string' || !plainName.test(name))
    throw new CniError(errorCode.invalidConfiguration, `the network's name ${JSON.stringify(name)} is not valid`);
  return name;
}

function attachmentOf(env: Environment): Attachment {
  const containerId = env.CNI_CONTAINERID ?? '';
  const ifname = env.CNI_IFNAME ?? '';
  if (!plainName.test(containerId))
    throw new CniError(errorCode.invalidEnvironment, `CNI_CONTAINERID '${containerId}' is not valid`);
  if (!isInterfaceName(ifname))
    throw new CniError(errorCode.invalidEnvironment, `CNI_IFNAME '${ifname}' cannot name an interface`);
  return { containerId, ifname };
}

/** The kernel's rule for names of interfaces (dev_valid_name). */
export function isInterfaceName(name: string): boolean {
  return name !== '.' && name !== '..' && Buffer.byteLength(name) < 16 && /^[^/:\s\0]+$/.test(name);
}

/** `namespace/name` from CNI_ARGS as kubelets send them, for messages alone. */
function podOf(env: Environment): string {
  const pairs = new Map(
    (env.CNI_ARGS ?? '').split(';').map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
  const name = pairs.get('K8S_POD_NAME');
  return name === undefined ? '' : `${pairs.get('K8S_POD_NAMESPACE') ?? ''}/${name}`;
}

function validAttachments(config: Json): Attachment[] {
  const list = config['cni.dev/valid-attachments'] ?? [];
  const wrong = new CniError(
    errorCode.invalidConfiguration,
    'cni.dev/valid-attachments is not a list of objects with containerID and ifname',
  );
  if (!Array.isArray(list)) throw wrong;
  return list.map((entry: unknown) => {
    if (!isObject(entry)) throw wrong;
    const { containerID, ifname } = entry;
    if (typeof containerID !== 'string' || typeof ifname !== 'string') throw wrong;
    return { containerId: containerID, ifname };
  });
}

function previousOf(config: Json): Result | undefined {
  const value = config.prevResult;
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw new CniError(errorCode.decodingFailure, 'prevResult is not a JSON object');
  return {
    interfaces: objects(value, 'interfaces').map((entry) => ({
      name: text(entry, 'name') ?? '',
      ...optional('mac', text(entry, 'mac')),
      ...optional('sandbox', text(entry, 'sandbox')),
      ...optional('mtu', number(entry, 'mtu')),
    })),
    ips: objects(value, 'ips').map((entry) => ({
      address: text(entry, 'address') ?? '',
      ...optional('gateway', text(entry, 'gateway')),
      ...optional('interface', number(entry, 'interface')),
    })),
    routes: objects(value, 'routes').map((entry) => ({
      dst: text(entry, 'dst') ?? '',
      ...optional('gw', text(entry, 'gw')),
    })),
    ...(isObject(value.dns) ? { dns: value.dns } : {}),
  };
}

function objects(value: Json, field: string): Json[] {
  const list = value[field] ?? [];
  if (!Array.isArray(list) || !list.every(isObject))
    throw new CniError(errorCode.decodingFailure, `prevResult.${field} is not a list of objects`);
  return list;
}

function text(value: Json, field: string): string | undefined {
  const found = value[field];
  return typeof found === 'string' ? found : undefined;
}

function number(value: Json, field: string): number | undefined {
  const found = value[field];
  return typeof found === 'number' ? found : undefined;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  const result: { [P in K]?: V } = {};
  if (value !== undefined) result[key] = value;
  return result;
}
