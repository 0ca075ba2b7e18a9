// The way from the nodes to DNS servers outside of the cluster, which have none of their own: a node has their addresses
// itself, and what comes there goes by a Unix socket to the host's side, which asks. Only those that the user has named.
import { readFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { replaceAddress } from '../linux/addresses.ts';
import { Netlink } from '../linux/netlink.ts';
import type { Log } from '../log/log.ts';
import { asCidr, asIp, cidrContains, familyOf, type Ip, parseIp } from '../net/address.ts';
import { listening, relayServer } from './byte-relay.ts';
import { relayDatagrams } from './datagram-relay.ts';
import { createDialServer, dialLine } from './dial.ts';
import { hostResolver, type RelayedAddress } from './dns-settings.ts';

const loopback = 1;
const loopbackRange = asCidr('127.0.0.0/8');
/** Each question has a conversation of its own: it is over long before this, in ms. */
const idleMs = 10_000;

/**
 * The node's side, in its network namespace: listens at each of the addresses. One that cannot be listened at is
 * reported and left out; the DNS server finds nobody there then, and asks others.
 */
export async function listenForUpstreams(
  relayed: readonly RelayedAddress[],
  relaySocket: string,
  log: Log,
): Promise<{ close(): void }> {
  const opened: { close(): void }[] = [];
  if (relayed.length > 0) giveAddresses(relayed.map(({ address }) => address));
  for (const { address, port } of relayed)
    try {
      const target = { path: relaySocket };
      const greeting = (): string => dialLine(address, port, 'udp');
      opened.push(await relayDatagrams({ family: familyOf(address), address, port, ...target, greeting, idleMs }));
      const server = relayServer(target, dialLine(address, port));
      await listening(server, { host: address, port });
      opened.push(server);
    } catch (error) {
      log.error({ address, port, error: String(error) }, 'the way to this DNS upstream cannot be opened on the node');
    }
  return {
    close() {
      for (const one of opened.splice(0)) one.close();
    },
  };
}

/** The loopback addresses are everywhere already. */
function giveAddresses(addresses: readonly Ip[]): void {
  using nl = Netlink.open();
  for (const address of addresses) {
    if (cidrContains(loopbackRange, address) || address === '::1') continue;
    const prefix = familyOf(address) === 'IPv4' ? 32 : 128;
    replaceAddress(nl, { link: loopback, address, prefix }, { localOnly: true });
  }
}

/** The host's side: connects to these addresses, and to nothing else. */
export function createUpstreamServer(
  relayed: readonly RelayedAddress[],
  hostServers: () => readonly Ip[] = () => nameServers(readResolvConf()),
): Server {
  const allowed = new Set(relayed.map(({ address, port }) => `${address} ${port}`));
  const isHost = (host: string, port: number): boolean => host === hostResolver.address && port === hostResolver.port;
  /** The one that answered last is asked first. */
  let preferred: string | undefined;
  return createDialServer({
    choose: ({ host, port }) => {
      if (!allowed.has(`${host} ${port}`)) return [];
      if (!isHost(host, port)) return [{ host, port }];
      const servers = hostServers();
      const inTurn = [...servers.filter((ip) => ip === preferred), ...servers.filter((ip) => ip !== preferred)];
      return inTurn.map((ip) => ({ host: ip, port: hostResolver.port }));
    },
    onAnswer: ({ host }) => {
      preferred = host;
    },
  });
}

/** The servers that a resolv.conf(5) names; without one it is the machine itself that is asked. Pure. */
export function nameServers(text: string): Ip[] {
  const found = text.split('\n').flatMap((line) => parseIp(/^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '') ?? []);
  return found.length > 0 ? [...new Set(found)] : [asIp('127.0.0.1')];
}

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}
