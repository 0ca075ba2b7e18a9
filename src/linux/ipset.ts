// IP sets through netlink (linux/netfilter/ipset/ip_set.h): made, filled and listed one element at a time.
import { addressAt, type Cidr, type Family, familyOf, type Ip, type Port, parsePort, rangeOf } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { failedWith, SystemCallError } from './libc.ts';
import { attribute, flag, type Message, Netlink, nested, parseAttributes, readText, text, u8 } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import type { NetnsRef } from './netns.ts';
import type { L4Protocol } from './nft.ts';

const NFNL_SUBSYS_IPSET = 6;
const IPSET_PROTOCOL = 6;
const CMD = { protocol: 1, create: 2, destroy: 3, swap: 6, list: 7, add: 9, del: 10 };
const ATTR = {
  protocol: 1,
  name: 2,
  /** As name2 in a swap. */
  typeName: 3,
  revision: 4,
  family: 5,
  flags: 6,
  data: 7,
  elements: 8,
};
const DATA = { ip: 1, cidr: 3, port: 4, portTo: 5, proto: 7, maxElements: 19, count: 24, ip2: 20, cidr2: 21 };
const IPADDR = { IPv4: 1, IPv6: 2 } as const;
const NLA_F_NET_BYTEORDER = 0x4000;
const IPSET_FLAG_LIST_HEADER = 1 << 2;
const protocolNumbers: Readonly<Record<L4Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };
const protocols: readonly L4Protocol[] = ['tcp', 'udp', 'sctp'];

/** The types of sets, and of each the oldest revision that knows SCTP. */
const revisions = {
  'hash:ip': 0,
  'hash:ip,port': 1,
  'hash:ip,port,ip': 1,
  'hash:ip,port,net': 2,
  'bitmap:port': 0,
} as const;
export type IpsetType = keyof typeof revisions;

/** A set: its name (at most 31 characters), what its elements are, and of which family. */
export interface Ipset {
  readonly name: string;
  readonly type: IpsetType;
  readonly family: Family;
}

/** An element; which parts it has is said by the type of the set, in the order of its name. */
export interface IpsetElement {
  readonly ip?: Ip;
  readonly port?: Port;
  readonly protocol?: L4Protocol;
  readonly ip2?: Ip;
  readonly net?: Cidr;
}

/** As ipset(8) writes it: `10.96.0.1,tcp:80,10.0.0.0/8`. */
export function elementText({ ip, port, protocol, ip2, net }: IpsetElement): string {
  const portText = port === undefined ? [] : [protocol === undefined ? String(port) : `${protocol}:${port}`];
  return [...(ip === undefined ? [] : [ip]), ...portText, ...[ip2 ?? net ?? []].flat()].join(',');
}

/** Hash sets grow as they are filled; this is where they stop (ipset's own default is 65,536). */
const maxElements = 1 << 21;

/** Errors of ipset besides those of the system (enum ipset_errno). */
const errorNames: Readonly<Record<number, string>> = {
  4097: 'another protocol version',
  4098: 'the kernel has no such type of set',
  4099: 'there are too many sets',
  4100: 'the set is in use',
  4101: 'the other set does not exist',
  4102: 'the sets are of different types',
  4103: 'the element is there already, or is not there',
  4104: 'the length of a prefix is not possible',
  4352: 'the set is full',
};

function ip(type: number, address: Ip): Buffer {
  return nested(type, [attribute(IPADDR[familyOf(address)] | NLA_F_NET_BYTEORDER, ipBytes(address))]);
}

function be16(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return attribute(type | NLA_F_NET_BYTEORDER, bytes);
}

function be32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return attribute(type | NLA_F_NET_BYTEORDER, bytes);
}

/** The attributes that make a set. */
export function setAttributes({ name, type, family }: Ipset): Buffer[] {
  const isBitmap = type === 'bitmap:port';
  return [
    text(ATTR.name, name),
    text(ATTR.typeName, type),
    u8(ATTR.revision, revisions[type]),
    u8(ATTR.family, isBitmap ? 0 : addressFamily(family)),
    nested(
      ATTR.data,
      isBitmap ? [be16(DATA.port, 0), be16(DATA.portTo, 65_535)] : [be32(DATA.maxElements, maxElements)],
    ),
  ];
}

/** The attributes of an element. */
export function elementData(element: IpsetElement): Buffer {
  const { port, protocol, ip2, net } = element;
  return nested(ATTR.data, [
    ...(element.ip === undefined ? [] : [ip(DATA.ip, element.ip)]),
    ...(port === undefined ? [] : [be16(DATA.port, port)]),
    ...(protocol === undefined ? [] : [u8(DATA.proto, protocolNumbers[protocol])]),
    ...(ip2 === undefined ? [] : [ip(DATA.ip2, ip2)]),
    ...(net === undefined ? [] : [ip(DATA.ip2, firstOf(net)), u8(DATA.cidr2, prefixOf(net))]),
  ]);
}

const prefixOf = (net: Cidr): number => rangeOf(net).prefix;
const firstOf = (net: Cidr): Ip => addressAt(net, 0);

/** The element of the kernel's answer, for a set of that type. */
export function parseElement(data: Buffer, type: IpsetType): IpsetElement {
  const found = parseAttributes(data);
  const address = (kind: number): Ip | undefined => {
    const [bytes] = parseAttributes(found.get(kind) ?? Buffer.alloc(0)).values();
    return bytes === undefined ? undefined : ipFromBytes(bytes);
  };
  const first = address(DATA.ip);
  const second = address(DATA.ip2);
  const port = parsePort(found.get(DATA.port)?.readUInt16BE() ?? 0);
  const number = found.get(DATA.proto)?.readUInt8();
  const protocol = protocols.find((candidate) => protocolNumbers[candidate] === number);
  return {
    ...(first === undefined ? {} : { ip: first }),
    ...(port === undefined ? {} : { port }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(second === undefined
      ? {}
      : type === 'hash:ip,port,net'
        ? { net: `${second}/${found.get(DATA.cidr2)?.readUInt8() ?? fullPrefix(second)}` as Cidr }
        : { ip2: second }),
  };
}

const fullPrefix = (address: Ip): number => (familyOf(address) === 'IPv4' ? 32 : 128);

/** The sets of one network namespace. */
export class Ipsets implements Disposable {
  readonly #nl: Netlink;

  /** Opens the way to the sets; undefined where the kernel has none. */
  static open(netns?: NetnsRef): Ipsets | undefined {
    const sets = new Ipsets(Netlink.open(netns, netfilterProtocol));
    try {
      sets.#query(CMD.protocol, [], 'asking for IP sets');
      return sets;
    } catch (error) {
      sets.close();
      // EINVAL: no such subsystem of nfnetlink.
      if (failedWith(error, 'EINVAL', 'EOPNOTSUPP')) return undefined;
      throw error;
    }
  }

  private constructor(nl: Netlink) {
    this.#nl = nl;
  }

  #query(command: number, attributes: readonly Buffer[], what: string): Message[] {
    return named(() => this.#nl.query(request(command, 0, attributes, what)));
  }

  #request(command: number, flags: number, attributes: readonly Buffer[], what: string): void {
    named(() => this.#nl.request(request(command, flags, attributes, what)));
  }

  /** Makes a set; does nothing where there is an equal one. Throws EEXIST where there is one of other properties. */
  create(set: Ipset): void {
    this.#request(CMD.create, flag.create, setAttributes(set), `making the set ${set.name}`);
  }

  /** Deletes a set that no rule uses. False where there was none. */
  destroy(name: string): boolean {
    try {
      // Without this flag the kernel says nothing of a set that is not there.
      this.#request(CMD.destroy, flag.exclusive, [text(ATTR.name, name)], `deleting the set ${name}`);
      return true;
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return false;
      throw error;
    }
  }

  /** Exchanges the contents of two sets of one type; rules that use one of them go on with the other's. */
  swap(name: string, other: string): void {
    this.#request(CMD.swap, 0, [text(ATTR.name, name), text(ATTR.typeName, other)], `exchanging ${name} and ${other}`);
  }

  /** Adds an element; does nothing where it is there. */
  add(name: string, element: IpsetElement): void {
    const what = `adding ${elementText(element)} to the set ${name}`;
    this.#request(CMD.add, 0, [text(ATTR.name, name), elementData(element)], what);
  }

  /** Takes an element out; does nothing where it is not there. */
  delete(name: string, element: IpsetElement): void {
    const what = `taking ${elementText(element)} out of the set ${name}`;
    this.#request(CMD.del, 0, [text(ATTR.name, name), elementData(element)], what);
  }

  /** How many elements a set has; undefined where there is no such set. */
  count(name: string): number | undefined {
    const answers = this.#list(name, [be32(ATTR.flags, IPSET_FLAG_LIST_HEADER)]);
    const header = answers?.map(attributesOf).find((found) => found.has(ATTR.data));
    return (
      header &&
      (parseAttributes(header.get(ATTR.data) ?? Buffer.alloc(0))
        .get(DATA.count)
        ?.readUInt32BE() ??
        0)
    );
  }

  /** The elements of a set; undefined where there is no such set, or one of another type. */
  elements({ name, type }: Pick<Ipset, 'name' | 'type'>): IpsetElement[] | undefined {
    const answers = this.#list(name, [])?.map(attributesOf);
    // Only the first of several answers says the type.
    const actual = answers?.map((found) => readText(found.get(ATTR.typeName))).find((name) => name !== undefined);
    if (answers === undefined || actual !== type) return undefined;
    return answers.flatMap((found) => elementsIn(found.get(ATTR.elements), type));
  }

  #list(name: string, attributes: readonly Buffer[]): Message[] | undefined {
    try {
      const what = `listing the set ${name}`;
      return named(() => this.#nl.dump(request(CMD.list, 0, [text(ATTR.name, name), ...attributes], what)));
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#nl.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const nfgenmsgLength = 4;

const attributesOf = ({ body }: Message): Map<number, Buffer> => parseAttributes(body.subarray(nfgenmsgLength));

function request(
  command: number,
  flags: number,
  attributes: readonly Buffer[],
  what: string,
): Parameters<Netlink['request']>[0] {
  return {
    type: (NFNL_SUBSYS_IPSET << 8) | command,
    flags,
    body: Buffer.alloc(nfgenmsgLength),
    attributes: [u8(ATTR.protocol, IPSET_PROTOCOL), ...attributes],
    what,
  };
}

/** The elements travel as a list of attributes of one type, which a map by type would keep the last of. */
function elementsIn(list: Buffer | undefined, type: IpsetType): IpsetElement[] {
  const elements: IpsetElement[] = [];
  for (let at = 0; list !== undefined && at + 4 <= list.length; ) {
    const length = list.readUInt16LE(at);
    if (length < 4 || at + length > list.length) break;
    elements.push(parseElement(list.subarray(at + 4, at + length), type));
    at += (length + 3) & ~3;
  }
  return elements;
}

/** Says in words what the numbers of ipset's own errors mean. */
function named<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const meaning = error instanceof SystemCallError ? errorNames[error.errno] : undefined;
    if (meaning === undefined || !(error instanceof Error)) throw error;
    throw new Error(`${error.message.slice(0, error.message.indexOf(': '))}: ${meaning}`);
  }
}
