// What this node tells routers outside of load balancers' addresses (NodeBGPAnnouncement): sessions and routes. Pure.
import type { NodeBfd, NodeBGPAnnouncement, NodeBgpPeer, NodeBgpRoute } from '../../k8s/load-balancer.ts';
import { type Cidr, familyOf, type Ip, parseCidr, parseIp, parsePort } from '../../net/address.ts';
import type { FabricProblem } from '../plan.ts';
import type { BgpSession } from './decide.ts';
import { isPassword, passwordRule, symbol } from './names.ts';

/** Addresses of load balancers that a neighbour is told with the same attributes. */
export interface BalancerRoutes {
  /** Sorted. */
  readonly ranges: readonly Cidr[];
  readonly localPref?: number;
  /** `65000:1` or `large:65000:1:2`; sorted. */
  readonly communities: readonly string[];
}

export interface BalancersInput {
  readonly announcement: NodeBGPAnnouncement['spec'];
  readonly ownAddresses: readonly Ip[];
  /** All addresses of nodes. */
  readonly nodeAddresses: readonly Ip[];
  /** The sessions with outside routers that the fabric has already. */
  readonly sessions: readonly BgpSession[];
  /** By `namespace/name` of the Secret; undefined where there is none. */
  readonly passwords: ReadonlyMap<string, string | undefined>;
}

export interface BalancersDecision {
  /** The sessions of the input with what they are told, and those for load balancers alone. */
  readonly sessions: readonly BgpSession[];
  /** All ranges that are announced to anybody; sorted. */
  readonly ranges: readonly Cidr[];
  readonly problems: readonly FabricProblem[];
}

const largestAs = 4_294_967_294;
const namePattern = /^[a-z0-9.-]{1,253}\/[a-z0-9.-]{1,253}$/;
const communityPattern = /^(\d{1,5}:\d{1,5}|large:\d{1,10}:\d{1,10}:\d{1,10})$/;

/** A router that the fabric speaks with already (at the same address) is told by that session; the others get their own. */
export function decideBalancers(input: BalancersInput): BalancersDecision {
  const problems: FabricProblem[] = [];
  const { peers = [], routes = [] } = input.announcement;
  const sessions = new Map(input.sessions.map((session) => [session.neighbor, session]));
  const neighborOf = new Map<string, Ip>();
  for (const peer of new Map(peers.map((one) => [one.name, one])).values()) {
    const address = parseIp(peer.address);
    const present = address === undefined ? undefined : sessions.get(address);
    const made = present ?? newSession(peer, input, problems);
    if (made === undefined) continue;
    if (peer.bfd !== undefined && !isBfd(peer.bfd)) {
      problems.push({ owner: `BGPPeer ${peer.name}`, reason: 'its times for BFD are none' });
      continue;
    }
    const session = peer.bfd === undefined ? made : { ...made, bfd: peer.bfd };
    if (present !== undefined && present.neighborAs !== peer.asNumber)
      problems.push({ owner: `BGPPeer ${peer.name}`, reason: `${peer.address} is AS ${present.neighborAs} already` });
    sessions.set(session.neighbor, session);
    neighborOf.set(peer.name, session.neighbor);
  }
  const told = [...sessions.values()].map((session): BgpSession => {
    const own = routes.filter(
      (route) =>
        familyOf(parseCidr(route.prefix) ?? session.neighbor) === familyOf(session.neighbor) &&
        (route.peers === undefined || route.peers.some((name) => neighborOf.get(name) === session.neighbor)),
    );
    return { ...session, balancers: groupRoutes(own) };
  });
  const ranges = new Set(told.flatMap(({ balancers }) => balancers.flatMap((group) => group.ranges)));
  return { sessions: told, ranges: [...ranges].sort(), problems };
}

const isWithin = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most;

/** What BIRD takes; an object that others wrote may say anything. */
const isBfd = ({ receiveInterval, transmitInterval, detectMultiplier }: NodeBfd): boolean =>
  [receiveInterval, transmitInterval].every((ms) => isWithin(ms, 1, 60_000)) && isWithin(detectMultiplier, 1, 255);

function newSession(peer: NodeBgpPeer, input: BalancersInput, problems: FabricProblem[]): BgpSession | undefined {
  const neighbor = parseIp(peer.address);
  const local =
    peer.sourceAddress === undefined
      ? input.ownAddresses.find((address) => neighbor !== undefined && familyOf(address) === familyOf(neighbor))
      : parseIp(peer.sourceAddress);
  const owner = `BGPPeer ${peer.name}`;
  const secret = peer.passwordSecret && `${peer.passwordSecret.namespace}/${peer.passwordSecret.name}`;
  const password = secret === undefined ? peer.password : input.passwords.get(secret);
  const wrong = ((): string | undefined => {
    if (!namePattern.test(peer.name)) return 'its name is none';
    if (neighbor === undefined) return `its address ${peer.address} is none`;
    if (input.nodeAddresses.includes(neighbor)) return `its address ${neighbor} is that of a node`;
    if (local === undefined) return `the node has no ${familyOf(neighbor)} address to reach ${neighbor} from`;
    if (![peer.asNumber, peer.localAsNumber].every((number) => number >= 1 && number <= largestAs))
      return 'its AS numbers are none';
    if (secret !== undefined && password === undefined) return `there is no key 'password' in the Secret ${secret}`;
    if (password !== undefined && !isPassword(password)) return `its password ${passwordRule}`;
    return undefined;
  })();
  if (wrong !== undefined || neighbor === undefined || local === undefined) {
    problems.push({ owner, reason: wrong ?? '' });
    return undefined;
  }
  const port = peer.port === undefined ? undefined : parsePort(peer.port);
  return {
    name: symbol(`lb:${peer.name.replace('/', ':')}`),
    owner,
    local,
    neighbor,
    neighborAs: peer.asNumber,
    localAs: peer.localAsNumber,
    advertise: 'balancers',
    acceptExactly: [],
    acceptWithin: [],
    acceptOutside: [],
    balancers: [],
    ...(port !== undefined && { port }),
    ...(peer.holdTime !== undefined && { holdTime: peer.holdTime }),
    ...(peer.keepaliveTime !== undefined && { keepaliveTime: peer.keepaliveTime }),
    ...(peer.multihop === true && { multihop: 255 }),
    ...(password !== undefined && { password }),
  };
}

/** Ranges with equal attributes together. Where two advertisements name one range, the neighbour gets what both say. */
function groupRoutes(routes: readonly NodeBgpRoute[]): BalancerRoutes[] {
  const byRange = new Map<Cidr, { localPref?: number; communities: Set<string> }>();
  for (const { prefix, localPref, communities = [] } of routes) {
    const range = parseCidr(prefix);
    if (range === undefined) continue;
    const known = byRange.get(range) ?? { communities: new Set<string>() };
    byRange.set(range, known);
    for (const community of communities) if (communityPattern.test(community)) known.communities.add(community);
    if (localPref !== undefined) known.localPref = Math.max(localPref, known.localPref ?? 0);
  }
  const groups = new Map<string, BalancerRoutes & { ranges: Cidr[] }>();
  for (const [range, { localPref, communities }] of [...byRange].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const attributes = { ...(localPref !== undefined && { localPref }), communities: [...communities].sort() };
    const key = JSON.stringify(attributes);
    const group = groups.get(key) ?? { ...attributes, ranges: [] };
    groups.set(key, group);
    group.ranges.push(range);
  }
  return [...groups.values()];
}
