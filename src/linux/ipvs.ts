// IP Virtual Server: virtual and real servers through its generic netlink family (linux/ip_vs.h).
import { type Family, familyOf, type Ip, type Port, parsePort } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { GenericNetlink, u16 } from './generic-netlink.ts';
import { failedWith } from './libc.ts';
import { attribute, nested, parseAttributes, readText, text, u32 } from './netlink.ts';
import type { NetnsRef } from './netns.ts';
import type { L4Protocol } from './nft.ts';

const CMD = {
  newService: 1,
  setService: 2,
  delService: 3,
  getService: 4,
  newDest: 5,
  setDest: 6,
  delDest: 7,
  getDest: 8,
};
const ATTR = { service: 1, dest: 2 };
const SVC = {
  ...{ family: 1, protocol: 2, address: 3, port: 4, fwmark: 5, scheduler: 6, flags: 7, timeout: 8, netmask: 9 },
  stats: 12,
};
const DEST = {
  address: 1,
  port: 2,
  method: 3,
  weight: 4,
  upper: 5,
  lower: 6,
  active: 7,
  inactive: 8,
  persistent: 9,
  family: 11,
  stats: 12,
};
const STATS = { connections: 1, packetsIn: 2 };
const IP_VS_SVC_F_PERSISTENT = 1;
const IP_VS_SVC_F_HASHED = 2;
const IP_VS_SVC_F_SCHED_MH_PORT = 0x10;
const IP_VS_CONN_F_MASQ = 0;
const protocolNumbers: Readonly<Record<L4Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** What names a virtual server: no two can be equal in these. */
export interface VirtualServerName {
  readonly address: Ip;
  readonly port: Port;
  readonly protocol: L4Protocol;
}

/** An address and port whose new connections are given to one of the real servers. */
export interface VirtualServer extends VirtualServerName {
  /** How it chooses: the name of a module ip_vs_* of the kernel, such as rr (each in turn). */
  readonly scheduler: string;
  /** A client keeps its real server for so many seconds after its last connection; for nobody where absent. */
  readonly persistentSeconds?: number;
  /** For the scheduler mh: the client's port counts too, not its address alone. */
  readonly hashPort?: boolean;
}

/** One who answers for a virtual server. Connections are translated to it (masquerading, in the words of IPVS). */
export interface RealServer {
  readonly ip: Ip;
  readonly port: Port;
  /** Its share of new connections, for the schedulers that weigh; 0: it keeps what it has and gets nothing new. */
  readonly weight: number;
}

/** What a virtual or a real server has seen since it was made. */
export interface IpvsTraffic {
  /** Connections that were given away, those that have ended too. */
  readonly connections: number;
  /** Packets of clients. */
  readonly packets: number;
}

/** A real server as the kernel has it. */
export interface RealServerState extends RealServer {
  readonly traffic: IpvsTraffic;
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
}

export const virtualServerKey = ({ address, protocol, port }: VirtualServerName): string =>
  `${address} ${protocol} ${port}`;

export const realServerKey = ({ ip, port }: Pick<RealServer, 'ip' | 'port'>): string => `${ip} ${port}`;

function portBytes(port: Port): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

function nameAttributes({ address, protocol, port }: VirtualServerName): Buffer[] {
  return [
    u16(SVC.family, addressFamily(familyOf(address))),
    u16(SVC.protocol, protocolNumbers[protocol]),
    attribute(SVC.address, ipBytes(address)),
    attribute(SVC.port, portBytes(port)),
  ];
}

/** The attribute of the command that says which virtual server is meant. */
export function serviceName(name: VirtualServerName): Buffer {
  return nested(ATTR.service, nameAttributes(name));
}

/** The attribute of the command that describes a virtual server. */
export function serviceAttribute(server: VirtualServer): Buffer {
  const flags =
    (server.persistentSeconds === undefined ? 0 : IP_VS_SVC_F_PERSISTENT) |
    (server.hashPort === true ? IP_VS_SVC_F_SCHED_MH_PORT : 0);
  const flagsAndMask = Buffer.alloc(8);
  flagsAndMask.writeUInt32LE(flags, 0);
  flagsAndMask.writeUInt32LE(0xffffffff, 4);
  return nested(ATTR.service, [
    ...nameAttributes(server),
    text(SVC.scheduler, server.scheduler),
    attribute(SVC.flags, flagsAndMask),
    u32(SVC.timeout, server.persistentSeconds ?? 0),
    // Each client for itself: for IPv4 a mask, for IPv6 the length of a prefix.
    u32(SVC.netmask, familyOf(server.address) === 'IPv4' ? 0xffffffff : 128),
  ]);
}

/** The attribute of the command that describes a real server. */
export function destAttribute({ ip, port, weight }: RealServer): Buffer {
  return nested(ATTR.dest, [
    attribute(DEST.address, ipBytes(ip)),
    attribute(DEST.port, portBytes(port)),
    u16(DEST.family, addressFamily(familyOf(ip))),
    u32(DEST.method, IP_VS_CONN_F_MASQ),
    u32(DEST.weight, weight),
    u32(DEST.upper, 0),
    u32(DEST.lower, 0),
  ]);
}

/** A virtual server from the kernel's answer; undefined for one of a firewall mark, which has no address. */
export function parseService(answer: ReadonlyMap<number, Buffer>): VirtualServer | undefined {
  const found = parseAttributes(answer.get(ATTR.service) ?? Buffer.alloc(0));
  const family = familyNumbered(found.get(SVC.family)?.readUInt16LE());
  const number = found.get(SVC.protocol)?.readUInt16LE();
  const protocol = protocols.find((candidate) => protocolNumbers[candidate] === number);
  const port = parsePort(found.get(SVC.port)?.readUInt16BE() ?? 0);
  const address = found.get(SVC.address);
  if (family === undefined || protocol === undefined || port === undefined || address === undefined) return undefined;
  const flags = (found.get(SVC.flags)?.readUInt32LE() ?? 0) & ~IP_VS_SVC_F_HASHED;
  return {
    address: addressOf(address, family),
    protocol,
    port,
    scheduler: readText(found.get(SVC.scheduler)) ?? '',
    ...(flags & IP_VS_SVC_F_PERSISTENT ? { persistentSeconds: found.get(SVC.timeout)?.readUInt32LE() ?? 0 } : {}),
    ...(flags & IP_VS_SVC_F_SCHED_MH_PORT ? { hashPort: true } : {}),
  };
}

/** The counters of a virtual or real server from its attribute of 64-bit counters. */
function parseTraffic(stats: Buffer = Buffer.alloc(0)): IpvsTraffic {
  const found = parseAttributes(stats);
  const count = (type: number): number => Number(found.get(type)?.readBigUInt64LE() ?? 0n);
  return { connections: count(STATS.connections), packets: count(STATS.packetsIn) };
}

/** A real server from the kernel's answer about a virtual server of that family. */
export function parseDest(answer: ReadonlyMap<number, Buffer>, family: Family): RealServerState | undefined {
  const found = parseAttributes(answer.get(ATTR.dest) ?? Buffer.alloc(0));
  const address = found.get(DEST.address);
  const port = parsePort(found.get(DEST.port)?.readUInt16BE() ?? 0);
  if (address === undefined || port === undefined) return undefined;
  const count = (type: number): number => found.get(type)?.readUInt32LE() ?? 0;
  return {
    ip: addressOf(address, familyNumbered(found.get(DEST.family)?.readUInt16LE()) ?? family),
    port,
    weight: count(DEST.weight),
    traffic: parseTraffic(found.get(DEST.stats)),
    activeConnections: count(DEST.active),
    inactiveConnections: count(DEST.inactive),
    persistentConnections: count(DEST.persistent),
  };
}

const protocols: readonly L4Protocol[] = ['tcp', 'udp', 'sctp'];

const familyNumbered = (number: number | undefined): Family | undefined =>
  (['IPv4', 'IPv6'] as const).find((family) => addressFamily(family) === number);

/** The kernel writes sixteen bytes for both families. */
const addressOf = (bytes: Buffer, family: Family): Ip => ipFromBytes(family === 'IPv4' ? bytes.subarray(0, 4) : bytes);

const nameOf = ({ address, protocol, port }: VirtualServerName): string => `${address} ${protocol} port ${port}`;

/** The virtual servers of one network namespace. Every change is one exchange with the kernel. */
export class Ipvs implements Disposable {
  readonly #family: GenericNetlink;

  /** Opens the way to IPVS; undefined where the kernel has none. */
  static open(netns?: NetnsRef): Ipvs | undefined {
    const family = GenericNetlink.open('IPVS', 1, netns);
    return family === undefined ? undefined : new Ipvs(family);
  }

  private constructor(family: GenericNetlink) {
    this.#family = family;
  }

  /** Makes a virtual server; throws EEXIST where there is one of that name, ENOENT where the scheduler is unknown. */
  addServer(server: VirtualServer): void {
    const what = `adding the virtual server ${nameOf(server)} with the scheduler ${server.scheduler}`;
    this.#family.request({ command: CMD.newService, attributes: [serviceAttribute(server)], what });
  }

  /** Changes how a virtual server chooses; connections stay. Throws ESRCH where there is none. */
  changeServer(server: VirtualServer): void {
    const what = `changing the virtual server ${nameOf(server)}`;
    this.#family.request({ command: CMD.setService, attributes: [serviceAttribute(server)], what });
  }

  /** Deletes a virtual server with its real servers. False where there was none. */
  deleteServer(name: VirtualServerName): boolean {
    const what = `deleting the virtual server ${nameOf(name)}`;
    return unlessGone(() => this.#family.request({ command: CMD.delService, attributes: [serviceName(name)], what }));
  }

  /** All virtual servers that have an address. */
  servers(): VirtualServer[] {
    const what = 'listing the virtual servers';
    const answers = this.#family.dump({ command: CMD.getService, attributes: [], what });
    return answers.flatMap((answer) => parseService(answer) ?? []);
  }

  /** One virtual server; undefined where there is none. */
  server(name: VirtualServerName): VirtualServer | undefined {
    const answer = this.#ask(name);
    return answer === undefined ? undefined : parseService(answer);
  }

  /** What a virtual server has seen; undefined where there is none. */
  traffic(name: VirtualServerName): IpvsTraffic | undefined {
    const service = this.#ask(name)?.get(ATTR.service);
    return service === undefined ? undefined : parseTraffic(parseAttributes(service).get(SVC.stats));
  }

  #ask(name: VirtualServerName): ReadonlyMap<number, Buffer> | undefined {
    const what = `looking for the virtual server ${nameOf(name)}`;
    try {
      return this.#family.query({ command: CMD.getService, attributes: [serviceName(name)], what })[0];
    } catch (error) {
      if (failedWith(error, 'ESRCH')) return undefined;
      throw error;
    }
  }

  /** Puts a real server behind a virtual server, or changes the weight of one that is there. */
  setReal(name: VirtualServerName, real: RealServer): void {
    const attributes = [serviceName(name), destAttribute(real)];
    const what = `putting ${real.ip} port ${real.port} behind the virtual server ${nameOf(name)}`;
    try {
      this.#family.request({ command: CMD.newDest, attributes, what });
    } catch (error) {
      if (!failedWith(error, 'EEXIST')) throw error;
      this.#family.request({ command: CMD.setDest, attributes, what });
    }
  }

  /** Takes a real server away from a virtual server; its connections end. False where it was not there. */
  deleteReal(name: VirtualServerName, real: Pick<RealServer, 'ip' | 'port'>): boolean {
    const attributes = [serviceName(name), destAttribute({ ...real, weight: 0 })];
    const what = `taking ${real.ip} port ${real.port} from the virtual server ${nameOf(name)}`;
    return unlessGone(() => this.#family.request({ command: CMD.delDest, attributes, what }));
  }

  /** The real servers behind a virtual server, none where there is no such server. */
  reals(name: VirtualServerName): RealServerState[] {
    const what = `listing the real servers of ${nameOf(name)}`;
    const answers = this.#family.dump({
      command: CMD.getDest,
      attributes: [serviceName(name)],
      what,
    });
    return answers.flatMap((answer) => parseDest(answer, familyOf(name.address)) ?? []);
  }

  close(): void {
    this.#family.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function unlessGone(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (failedWith(error, 'ESRCH', 'ENOENT')) return false;
    throw error;
  }
}
