// BGPPeers as users write them, read into typed data; what is wrong with them. Pure.
import type { BGPPeer, NodeBfd, NodeBgpPeer } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import { familyOf, type Ip, parseIp, parsePort } from '../net/address.ts';
import type { Reading } from './advertisements.ts';
import { type Problem, readSelectors, type Selector } from './reading.ts';

export interface Peer {
  readonly namespace: string;
  readonly name: string;
  readonly coversNode: Selector;
  /** What a node is told of it. */
  readonly session: NodeBgpPeer;
}

const largestAs = 4_294_967_294;
/** Of the protocol (RFC 4271): 0 or from 3 on; BIRD takes it as 16 bits. */
const holdTimes = { least: 3, most: 65_535 };

/** A BGPPeer; undefined as its value where no session can be made of it. `profiles` are by `namespace/name`. */
export function readPeer(object: BGPPeer, profiles: ReadonlyMap<string, NodeBfd>): Reading<Peer | undefined> {
  const problems: Problem[] = [];
  const { namespace = '', name = '' } = object.metadata;
  const { spec } = object;
  const asNumber = readAs(spec.peerASN, 'spec.peerASN', problems);
  const localAsNumber = readAs(spec.myASN, 'spec.myASN', problems);
  const address = readAddress(spec.peerAddress, 'spec.peerAddress', problems);
  const source = spec.sourceAddress ? readAddress(spec.sourceAddress, 'spec.sourceAddress', problems) : undefined;
  if (address !== undefined && source !== undefined && familyOf(address) !== familyOf(source))
    problems.push({ field: 'spec.sourceAddress', reason: `${source} and ${address} are of different families` });
  const port = parsePort(spec.peerPort ?? 179);
  if (port === undefined) problems.push({ field: 'spec.peerPort', reason: `${spec.peerPort} must be from 1 to 65535` });
  const holdTime = readTime(spec.holdTime, 'spec.holdTime', holdTimes.least, problems);
  const keepaliveTime = readTime(spec.keepaliveTime, 'spec.keepaliveTime', 1, problems);
  if (holdTime !== undefined && keepaliveTime !== undefined && keepaliveTime > holdTime)
    problems.push({ field: 'spec.keepaliveTime', reason: `${spec.keepaliveTime} is longer than the hold time` });
  const secret = spec.passwordSecret?.name;
  if (spec.password && secret)
    problems.push({ field: 'spec.passwordSecret', reason: 'spec.password is given too: choose one' });
  const profile = spec.bfdProfile || undefined;
  const bfd = profile === undefined ? undefined : profiles.get(keyOf({ namespace, name: profile }));
  if (profile !== undefined && bfd === undefined)
    problems.push({
      field: 'spec.bfdProfile',
      reason: `there is no BFDProfile '${profile}' in the namespace ${namespace} that can be followed`,
    });
  const coversNode = readSelectors(spec.nodeSelectors, 'spec.nodeSelectors', problems) ?? (() => true);
  if (problems.length > 0 || asNumber === undefined || localAsNumber === undefined || address === undefined)
    return { value: undefined, problems };
  const session: NodeBgpPeer = {
    name: keyOf({ namespace, name }),
    address,
    asNumber,
    localAsNumber,
    ...(port !== undefined && port !== 179 && { port }),
    ...(source !== undefined && { sourceAddress: source }),
    ...(holdTime !== undefined && { holdTime }),
    ...(keepaliveTime !== undefined && { keepaliveTime }),
    ...(spec.ebgpMultiHop === true && { multihop: true }),
    ...(spec.password && { password: spec.password }),
    ...(secret && { passwordSecret: { namespace: spec.passwordSecret?.namespace || namespace, name: secret } }),
    ...(bfd !== undefined && { bfd }),
  };
  return { value: { namespace, name, coversNode, session }, problems };
}

function readAs(value: number, field: string, problems: Problem[]): number | undefined {
  if (Number.isInteger(value) && value >= 1 && value <= largestAs) return value;
  problems.push({ field, reason: `${value} must be from 1 to ${largestAs}` });
  return undefined;
}

function readAddress(text: string, field: string, problems: Problem[]): Ip | undefined {
  const address = parseIp(text);
  if (address === undefined) problems.push({ field, reason: `'${text}' is not an IP address` });
  return address;
}

/** A duration as Go writes them, in whole seconds. */
function readTime(text: string | undefined, field: string, least: number, problems: Problem[]): number | undefined {
  if (text === undefined || text === '') return undefined;
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  const [hours, minutes, seconds] = [match?.[1], match?.[2], match?.[3]].map((part) => Number(part ?? 0));
  const time = match === null ? Number.NaN : (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
  if (time >= least && time <= holdTimes.most) return time;
  problems.push({ field, reason: `'${text}' must be a time from ${least}s to ${holdTimes.most}s such as 90s` });
  return undefined;
}
