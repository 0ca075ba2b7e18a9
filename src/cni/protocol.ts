// The words of the CNI specification 1.1.0: commands, configuration, results, errors, and their older versions.

/** The versions of the specification that the plugin speaks, oldest first. */
export const supportedVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof supportedVersions)[number];
export const newestVersion: CniVersion = '1.1.0';

export function parseVersion(text: string): CniVersion | undefined {
  return supportedVersions.find((version) => version === text);
}

/** Error codes of the specification; from 100 on they are the plugin's own. */
export const errorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfiguration: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  /** The kernel refused a step of attaching or detaching. */
  kernelRefused: 100,
  /** No address is free. */
  noAddress: 101,
  /** CHECK found something missing or changed. */
  checkFailed: 102,
  /** The container has an interface of that name already. */
  interfaceExists: 103,
  /** A host port leads to another container already. */
  portTaken: 104,
} as const;

/** A failure as the runtime gets to see it. */
export class CniError extends Error {
  override readonly name = 'CniError';
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = '') {
    super(message);
    this.code = code;
    this.details = details;
  }

  toJson(version: CniVersion): object {
    const { code, message, details } = this;
    return { cniVersion: version, code, msg: message, ...(details === '' ? {} : { details }) };
  }
}

/** An attachment of a container to a network: what ADD makes and DEL takes away. */
export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

export interface ResultInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** The container's namespace; absent (or empty) for an interface on the node. */
  readonly sandbox?: string;
}

export interface ResultIp {
  /** With the prefix length: `10.244.1.5/24`. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into `interfaces`. */
  readonly interface?: number;
}

export interface ResultRoute {
  readonly dst: string;
  readonly gw?: string;
}

/** The result of ADD in the form of version 1.1.0. */
export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns?: object;
}

/**
 * The result in the form of a version: before 1.0.0 each address names its IP version, and interfaces have an MTU from
 * 1.1.0 on (SPEC.md, "ADD Success", and the upgrade notes).
 */
export function resultJson(result: Result, version: CniVersion): object {
  const interfaces = result.interfaces.map(({ mtu, ...rest }) =>
    version === '1.1.0' && mtu !== undefined ? { ...rest, mtu } : rest,
  );
  const old = version === '0.3.0' || version === '0.3.1' || version === '0.4.0';
  const ips = result.ips.map((ip) => (old ? { version: ip.address.includes(':') ? '6' : '4', ...ip } : ip));
  return { cniVersion: version, interfaces, ips, routes: result.routes, dns: result.dns ?? {} };
}
