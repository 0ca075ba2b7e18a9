// Answers for addresses that no interface has: ARP and neighbour solicitations on chosen links, and announcements.
import { createSocket, type Socket } from 'node:dgram';
import { listAddresses } from '../linux/addresses.ts';
import { failedWith } from '../linux/libc.ts';
import { type Link, listLinks, parseLink, RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import { arpRequestsFor, solicitationsFor } from '../linux/packet-filter.ts';
import { etherType, openPacketSocket, type PacketSocket } from '../linux/packet-socket.ts';
import type { Log } from '../log/log.ts';
import { familyOf, type Ip, type Mac } from '../net/address.ts';
import {
  announcementsOf,
  answerTo,
  type Question,
  readArpRequest,
  readSolicitation,
  solicitedNodeGroup,
} from './frames.ts';

export interface ResponderOptions {
  /** The node's own addresses: by default it answers on the links that have them. */
  readonly nodeAddresses: readonly Ip[];
  readonly log: Log;
}

/** An address to answer for. */
export interface Answered {
  readonly address: Ip;
  /** Names of links; undefined: those of the node's own addresses. */
  readonly interfaces: readonly string[] | undefined;
}

/** After a take-over it is told again so often, so far apart in ms: Linux takes no two changes within a second. */
const burst = { count: 5, pauseMs: 1100 } as const;
const settleMs = 20;

interface Station {
  readonly link: Link & { readonly mac: Mac };
  readonly arp: PacketSocket;
  readonly discovery: PacketSocket;
  /** Joins the groups to which solicitations are sent, so that switches and the card let them through. */
  readonly groups: Socket;
  joined: ReadonlySet<Ip>;
  addresses: ReadonlySet<Ip>;
}

export class Responder {
  readonly #options: ResponderOptions;
  readonly #nl = Netlink.open();
  readonly #endMonitor: () => void;
  readonly #stations = new Map<number, Station>();
  readonly #bursts = new Map<string, NodeJS.Timeout>();
  #wanted: readonly Answered[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ResponderOptions) {
    this.#options = options;
    const groups = [routeGroup.link, routeGroup.ipv4Address, routeGroup.ipv6Address];
    this.#endMonitor = monitorNetlink({ groups }, (event) => {
      if (this.#wanted.length > 0 && this.#concerns(event)) this.#timer ??= setTimeout(() => this.#look(), settleMs);
    });
  }

  /** Answers for these addresses from now on, and for no others. What is new is announced. */
  set(wanted: readonly Answered[]): void {
    this.#wanted = wanted;
    this.#look();
  }

  /** Tells everybody again where the addresses are: somebody else may have said that they are elsewhere. */
  announceAgain(): void {
    for (const station of this.#stations.values())
      for (const address of station.addresses) this.#announce(station, address);
  }

  /** The names of the links on which an address is answered for. */
  linksOf(address: Ip): string[] {
    const on = [...this.#stations.values()].filter(({ addresses }) => addresses.has(address));
    return on.map(({ link }) => link.name).sort();
  }

  stop(): void {
    this.#endMonitor();
    clearTimeout(this.#timer);
    for (const station of [...this.#stations.values()]) this.#close(station);
    this.#nl.close();
  }

  #concerns(event: MonitorEvent): boolean {
    if (event.type === 'overrun') return true;
    return event.messages.some((message) => {
      if (message.type !== RTM_NEWLINK && message.type !== RTM_DELLINK) return true;
      // Links of pods come and go: what is a port of a bridge is never answered on.
      return this.#stations.has(message.body.readInt32LE(4)) || parseLink(message).master === undefined;
    });
  }

  #look(): void {
    this.#timer = undefined;
    const links = this.#wanted.length === 0 ? new Map<number, PlacedLink>() : this.#usableLinks();
    for (const station of [...this.#stations.values()]) {
      const now = links.get(station.link.index);
      if (now?.mac !== station.link.mac || now.name !== station.link.name) this.#close(station);
    }
    for (const link of links.values()) {
      const on = this.#wanted.filter(({ interfaces }) => interfaces?.includes(link.name) ?? link.hasNodeAddress);
      const addresses = new Set(on.map(({ address }) => address));
      const station = this.#stations.get(link.index);
      if (station !== undefined) this.#follow(station, addresses);
      else if (addresses.size > 0) this.#begin(link, addresses);
    }
  }

  #usableLinks(): Map<number, PlacedLink> {
    const own = new Set(
      listAddresses(this.#nl)
        .filter(({ address }) => this.#options.nodeAddresses.includes(address))
        .map(({ link }) => link),
    );
    return new Map(
      listLinks(this.#nl).flatMap((link): [number, PlacedLink][] =>
        link.mac === undefined || !link.up || link.master !== undefined
          ? []
          : [[link.index, { ...link, mac: link.mac, hasNodeAddress: own.has(link.index) }]],
      ),
    );
  }

  #begin(link: PlacedLink, addresses: ReadonlySet<Ip>): void {
    const { log } = this.#options;
    try {
      const answer = (socket: () => PacketSocket, read: (frame: Buffer) => Question | undefined) => (frame: Buffer) => {
        const question = read(frame);
        if (question !== undefined && this.#stations.get(link.index)?.addresses.has(question.target))
          socket().send(answerTo(question, link.mac));
      };
      const none = { link: link.index, filter: arpRequestsFor([]) };
      const arp: PacketSocket = openPacketSocket(
        { ...none, etherType: etherType.arp },
        answer(() => arp, readArpRequest),
      );
      const discovery: PacketSocket = openPacketSocket(
        { ...none, etherType: etherType.ipv6 },
        answer(() => discovery, readSolicitation),
      );
      const groups = createSocket('udp6').on('error', (error) => log.warn({ error: String(error) }, 'multicast'));
      const station: Station = { link, arp, discovery, groups, joined: new Set(), addresses: new Set() };
      this.#stations.set(link.index, station);
      this.#follow(station, addresses);
    } catch (error) {
      // The link has gone meanwhile: the monitor tells when it is back.
      if (!failedWith(error, 'ENODEV', 'ENETDOWN', 'ENXIO')) throw error;
      log.warn({ link: link.name, error: String(error) }, 'addresses cannot be answered for on the link');
    }
  }

  #follow(station: Station, addresses: ReadonlySet<Ip>): void {
    const before = station.addresses;
    if (before.size === addresses.size && [...addresses].every((address) => before.has(address))) return;
    station.addresses = addresses;
    const all = [...addresses];
    station.arp.setFilter(arpRequestsFor(all.filter((address) => familyOf(address) === 'IPv4')));
    station.discovery.setFilter(solicitationsFor(all.filter((address) => familyOf(address) === 'IPv6')));
    this.#join(station, all.filter((address) => familyOf(address) === 'IPv6').map(solicitedNodeGroup));
    for (const address of all) if (!before.has(address)) this.#announce(station, address);
  }

  #join(station: Station, groups: readonly Ip[]): void {
    const wanted = new Set(groups);
    const on = `::%${station.link.name}`;
    const change = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        // A link without IPv6 has no groups.
        this.#options.log.warn({ link: station.link.name, error: String(error) }, 'cannot join a multicast group');
      }
    };
    for (const group of station.joined) if (!wanted.has(group)) change(() => station.groups.dropMembership(group, on));
    for (const group of wanted) if (!station.joined.has(group)) change(() => station.groups.addMembership(group, on));
    station.joined = wanted;
  }

  #announce(station: Station, address: Ip): void {
    const key = `${station.link.index} ${address}`;
    clearTimeout(this.#bursts.get(key));
    const tell = (left: number): void => {
      this.#bursts.delete(key);
      if (this.#stations.get(station.link.index) !== station || !station.addresses.has(address)) return;
      for (const frame of announcementsOf(address, station.link.mac))
        (familyOf(address) === 'IPv4' ? station.arp : station.discovery).send(frame);
      if (left > 0)
        this.#bursts.set(
          key,
          setTimeout(() => tell(left - 1), burst.pauseMs),
        );
    };
    tell(burst.count - 1);
  }

  #close(station: Station): void {
    this.#stations.delete(station.link.index);
    for (const address of station.addresses) {
      const key = `${station.link.index} ${address}`;
      clearTimeout(this.#bursts.get(key));
      this.#bursts.delete(key);
    }
    station.arp.close();
    station.discovery.close();
    station.groups.close();
  }
}

type PlacedLink = Link & { readonly mac: Mac; readonly hasNodeAddress: boolean };
