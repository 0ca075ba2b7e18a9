// What a user writes about BGP (the ConfigMap kube-system/weft-bgp), read into typed data. Pure.
import { requirementOf, SelectorError } from '../../k8s/selectors.ts';
import type { LabelSelector } from '../../k8s/types.generated.ts';
import { type Cidr, familyOf, type Ip, parseCidr, parseIp } from '../../net/address.ts';

/** Nodes that hand on the routes of the others, so that not every node needs a session with every other one. */
export interface RouteReflectors {
  /** Reflectors with the same one stand in for each other (RFC 4456); it is written as an IPv4 address. */
  readonly clusterId: Ip;
  readonly nodeSelector: LabelSelector;
}

/** A router outside of the cluster. */
export interface BgpPeer {
  /** Unique; a DNS label. */
  readonly name: string;
  readonly address: Ip;
  readonly asNumber: number;
  /** The nodes that talk to it; all where absent. */
  readonly nodeSelector?: LabelSelector;
  /** What it is told: the range of the node itself, or the ranges of all nodes (for a router that few nodes talk to). */
  readonly advertise: 'own' | 'cluster';
  /**
   * What is taken from it: these ranges and all within them. Ranges of pods are taken only where an entry lies within
   * the cluster's pod range itself: 0.0.0.0/0 is every other destination.
   */
  readonly accept: readonly Cidr[];
  /** How many hops away it may be; absent: it is on a link of the node's. */
  readonly multihop?: number;
  /** The key of its password in the Secret kube-system/weft-bgp (TCP MD5, RFC 2385). */
  readonly passwordKey?: string;
}

export interface BgpSettings {
  readonly asNumber: number;
  /** A neighbour that says nothing for this long is lost, in s; every third of it one says something. */
  readonly holdTime: number;
  /** How long the routes of a neighbour whose BGP process restarts are kept, in s. */
  readonly restartTime: number;
  readonly routeReflectors: readonly RouteReflectors[];
  readonly peers: readonly BgpPeer[];
}

export const defaultBgpSettings: BgpSettings = {
  asNumber: 64512,
  holdTime: 9,
  restartTime: 60,
  routeReflectors: [],
  peers: [],
};

/** Where the settings are: this key of this ConfigMap; passwords are in the Secret of the same name. */
export const bgpSettingsKey = { namespace: 'kube-system', name: 'weft-bgp' } as const;
export const bgpSettingsEntry = 'bgp.yaml';

/** Settings that cannot be followed; the message names each field and what is wrong with it, one a line. */
export class BgpSettingsError extends Error {
  override readonly name = 'BgpSettingsError';
}

/** The settings of a parsed document, with defaults filled in. Throws a BgpSettingsError that tells all mistakes. */
export function readBgpSettings(document: unknown): BgpSettings {
  if (document === null || document === undefined) return defaultBgpSettings;
  const read = new Reader();
  const places = new Map<BgpPeer, string>();
  const top = read.fields(document, '', ['asNumber', 'holdTime', 'restartTime', 'routeReflectors', 'peers']);
  const settings: BgpSettings = {
    asNumber: read.whole(top.asNumber, 'asNumber', 1, largestAs, defaultBgpSettings.asNumber),
    holdTime: read.whole(top.holdTime, 'holdTime', 3, 3600, defaultBgpSettings.holdTime),
    restartTime: read.whole(top.restartTime, 'restartTime', 1, 4095, defaultBgpSettings.restartTime),
    routeReflectors: read.list(top.routeReflectors, 'routeReflectors').flatMap((entry, index) => {
      const where = `routeReflectors[${index}]`;
      const { clusterId, nodeSelector } = read.fields(entry, where, ['clusterId', 'nodeSelector']);
      const id = read.address(clusterId, `${where}.clusterId`);
      if (id !== undefined && familyOf(id) === 'IPv6') read.wrong(`${where}.clusterId`, id, 'must look like 10.0.0.1');
      const selector = read.selector(nodeSelector, `${where}.nodeSelector`);
      if (selector === undefined) read.wrong(`${where}.nodeSelector`, nodeSelector, 'is required');
      return id === undefined || selector === undefined ? [] : [{ clusterId: id, nodeSelector: selector }];
    }),
    peers: read.list(top.peers, 'peers').flatMap((entry, index) => {
      const peer = readPeer(read, entry, `peers[${index}]`);
      if (peer !== undefined) places.set(peer, `peers[${index}]`);
      return peer ?? [];
    }),
  };
  for (const field of ['name', 'address'] as const) refuseTwice(read, places, field);
  if (read.problems.length > 0) throw new BgpSettingsError(read.problems.join('\n'));
  return settings;
}

const largestAs = 4_294_967_294;

const peerFields = [
  ...['name', 'address', 'asNumber', 'nodeSelector'],
  ...['advertise', 'accept', 'multihop', 'passwordKey'],
] as const;

function readPeer(read: Reader, entry: unknown, where: string): BgpPeer | undefined {
  const given = read.fields(entry, where, peerFields);
  const name = read.text(
    given.name,
    `${where}.name`,
    /^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/,
    'must be a DNS label of at most 40 characters',
  );
  const address = read.address(given.address, `${where}.address`);
  const asNumber = read.whole(given.asNumber, `${where}.asNumber`, 1, largestAs);
  const advertise = given.advertise ?? 'own';
  if (advertise !== 'own' && advertise !== 'cluster')
    read.wrong(`${where}.advertise`, advertise, "must be 'own' or 'cluster'");
  const nodeSelector = read.selector(given.nodeSelector, `${where}.nodeSelector`);
  const multihop = given.multihop === undefined ? undefined : read.whole(given.multihop, `${where}.multihop`, 2, 255);
  const passwordKey =
    given.passwordKey === undefined
      ? undefined
      : read.text(given.passwordKey, `${where}.passwordKey`, /^[-._a-zA-Z0-9]{1,253}$/, 'must be a key of a Secret');
  const accept = read.list(given.accept, `${where}.accept`).flatMap((text, index) => {
    const range = typeof text === 'string' ? parseCidr(text) : undefined;
    if (range === undefined) read.wrong(`${where}.accept[${index}]`, text, 'must be a range such as 10.0.0.0/8');
    return range ?? [];
  });
  if (name === undefined || address === undefined) return undefined;
  return {
    name,
    address,
    asNumber,
    advertise: advertise === 'cluster' ? 'cluster' : 'own',
    accept,
    ...(nodeSelector !== undefined && { nodeSelector }),
    ...(multihop !== undefined && { multihop }),
    ...(passwordKey !== undefined && { passwordKey }),
  };
}

/** `places` tells where each peer stands: peers that could not be read are not among them. */
function refuseTwice(read: Reader, places: ReadonlyMap<BgpPeer, string>, field: 'name' | 'address'): void {
  const seen = new Map<string, string>();
  for (const [peer, where] of places) {
    const before = seen.get(peer[field]);
    if (before !== undefined) read.wrong(`${where}.${field}`, peer[field], `is that of ${before} already`);
    else seen.set(peer[field], where);
  }
}

/** Reads values of unknown shape and collects what is wrong with them. */
class Reader {
  readonly problems: string[] = [];

  wrong(where: string, value: unknown, reason: string): void {
    const shown = value === undefined ? '' : ` ${JSON.stringify(value)}:`;
    this.problems.push(`${where}:${shown} ${reason}`);
  }

  fields<Name extends string>(value: unknown, where: string, known: readonly Name[]): Partial<Record<Name, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.wrong(where || bgpSettingsEntry, value, `must be fields such as ${known[0]}`);
      return {};
    }
    for (const key of Object.keys(value))
      if (!known.some((name) => name === key))
        this.wrong(where === '' ? key : `${where}.${key}`, undefined, `is not known; there are ${known.join(', ')}`);
    return value;
  }

  list(value: unknown, where: string): readonly unknown[] {
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.wrong(where, value, 'must be a list');
    return [];
  }

  whole(value: unknown, where: string, least: number, most: number, byDefault?: number): number {
    if (value === undefined && byDefault !== undefined) return byDefault;
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
    this.wrong(where, value, `must be a whole number from ${least} to ${most}`);
    return byDefault ?? least;
  }

  text(value: unknown, where: string, pattern: RegExp, rule: string): string | undefined {
    if (typeof value === 'string' && pattern.test(value)) return value;
    this.wrong(where, value, rule);
    return undefined;
  }

  address(value: unknown, where: string): Ip | undefined {
    const address = typeof value === 'string' ? parseIp(value) : undefined;
    if (address === undefined) this.wrong(where, value, 'must be an IP address');
    return address;
  }

  /** Undefined where none is given, or a wrong one (which is told). */
  selector(value: unknown, where: string): LabelSelector | undefined {
    if (value === undefined) return undefined;
    const given = this.fields(value, where, ['matchLabels', 'matchExpressions']);
    const selector: LabelSelector = {};
    if (given.matchLabels !== undefined) {
      if (!isLabels(given.matchLabels))
        this.wrong(`${where}.matchLabels`, given.matchLabels, 'must be labels such as rack: a');
      else selector.matchLabels = given.matchLabels;
    }
    if (given.matchExpressions !== undefined) {
      if (!isRequirements(given.matchExpressions))
        this.wrong(`${where}.matchExpressions`, given.matchExpressions, 'must be a list of key, operator and values');
      else selector.matchExpressions = given.matchExpressions;
    }
    try {
      for (const requirement of selector.matchExpressions ?? []) requirementOf(requirement);
    } catch (error) {
      if (!(error instanceof SelectorError)) throw error;
      this.wrong(where, undefined, error.message);
    }
    return selector;
  }
}

function isLabels(value: unknown): value is Record<string, string> {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}

function isRequirements(value: unknown): value is { key: string; operator: string; values?: string[] }[] {
  const isTexts = (list: unknown): boolean => Array.isArray(list) && list.every((text) => typeof text === 'string');
  return (
    Array.isArray(value) &&
    value.every(
      (entry) =>
        typeof entry === 'object' &&
        entry !== null &&
        typeof entry.key === 'string' &&
        typeof entry.operator === 'string' &&
        (entry.values === undefined || isTexts(entry.values)),
    )
  );
}
