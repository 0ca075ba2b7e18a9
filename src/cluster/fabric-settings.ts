// What a user chooses about the way between the nodes: the fabric, and the subnets that the nodes are on. Pure.
import { type FabricKindName, fabricKinds } from '../k8s/network-config.ts';
import { SettingsError } from './settings-error.ts';

export interface FabricSettings {
  /** The fabric of the first `up`, or that of the last `weft fabric set`. */
  readonly fabric: FabricKindName;
  /** With vxlan: nodes on one subnet reach each other without a tunnel. */
  readonly crossSubnet: boolean;
  /** With host-gw and vxlan: what pods say to other nodes is encrypted, by WireGuard. */
  readonly encrypt: boolean;
  /** How many subnets the nodes are on, joined by a router. */
  readonly underlaySubnets: 1 | 2;
}

export interface GivenFabricSettings {
  readonly fabric?: unknown;
  readonly crossSubnet?: unknown;
  readonly encrypt?: unknown;
  readonly underlaySubnets?: unknown;
}

/** The settings with defaults filled in. Throws a SettingsError for the first that cannot be. */
export function decideFabricSettings(given: GivenFabricSettings): FabricSettings {
  const underlaySubnets = decideSubnets(given.underlaySubnets ?? 1);
  const fabric = checkFabricKind(given.fabric ?? (underlaySubnets === 1 ? 'host-gw' : 'vxlan'), '--fabric');
  checkReach(fabric, underlaySubnets);
  const crossSubnet = given.crossSubnet ?? false;
  if (typeof crossSubnet !== 'boolean')
    throw new SettingsError(`--cross-subnet '${String(crossSubnet)}': must be true or false`);
  if (crossSubnet && fabric !== 'vxlan')
    throw new SettingsError(`--cross-subnet is an option of --fabric vxlan; the fabric is ${fabric}`);
  const encrypt = given.encrypt ?? false;
  if (typeof encrypt !== 'boolean') throw new SettingsError(`--encrypt '${String(encrypt)}': must be true or false`);
  if (encrypt) checkEncryption(fabric, crossSubnet);
  return { fabric, crossSubnet, encrypt, underlaySubnets };
}

/** The kind of that name. `what` is how the user gave it: an option, or an argument. */
export function checkFabricKind(value: unknown, what: string): FabricKindName {
  const fabric = fabricKinds.find((kind) => kind === value);
  if (fabric === undefined) throw new SettingsError(`${what} '${String(value)}': there is ${fabricKinds.join(', ')}`);
  return fabric;
}

/** Throws a SettingsError where the fabric cannot carry packets between nodes on so many subnets. */
export function checkReach(fabric: FabricKindName, underlaySubnets: 1 | 2): void {
  if (fabric === 'host-gw' && underlaySubnets > 1)
    throw new SettingsError(
      'the fabric host-gw needs all nodes on one subnet, and --underlay-subnets is 2; choose vxlan, router or bgp',
    );
}

/** Throws a SettingsError where the fabric cannot encrypt, or is asked to send past the tunnel. */
export function checkEncryption(fabric: FabricKindName, crossSubnet: boolean): void {
  if (fabric !== 'host-gw' && fabric !== 'vxlan')
    throw new SettingsError(
      `--encrypt is an option of the fabrics host-gw and vxlan; ${fabric} sends in clear (--no-encrypt)`,
    );
  if (crossSubnet)
    throw new SettingsError('--encrypt and --cross-subnet: encrypted is the way to every node; leave one of them out');
}

function decideSubnets(value: unknown): 1 | 2 {
  if (value === 1 || value === '1') return 1;
  if (value === 2 || value === '2') return 2;
  throw new SettingsError(`--underlay-subnets '${String(value)}': must be 1 or 2`);
}
