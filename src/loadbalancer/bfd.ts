// BFDProfiles as users write them (RFC 5880), read into typed data; what is wrong with them. Pure.
import type { BFDProfile, NodeBfd } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import type { Reading } from './advertisements.ts';
import type { Problem } from './reading.ts';

export interface Profile {
  readonly namespace: string;
  readonly name: string;
  /** What a node is told of it. */
  readonly bfd: NodeBfd;
}

/** MetalLB's, which are FRR's; intervals in ms. */
const defaults = { receiveInterval: 300, transmitInterval: 300, detectMultiplier: 3 } as const;
const bounds = {
  receiveInterval: [10, 60_000],
  transmitInterval: [10, 60_000],
  detectMultiplier: [2, 255],
} as const;

/** A BFDProfile; undefined as its value where it cannot be followed. */
export function readProfile(object: BFDProfile): Reading<Profile | undefined> {
  const problems: Problem[] = [];
  const { spec = {} } = object;
  const number = (field: keyof typeof bounds): number => {
    const value = spec[field] ?? defaults[field];
    const [least, most] = bounds[field];
    if (!Number.isInteger(value) || value < least || value > most)
      problems.push({ field: `spec.${field}`, reason: `${value} must be from ${least} to ${most}` });
    return value;
  };
  const bfd: NodeBfd = {
    receiveInterval: number('receiveInterval'),
    transmitInterval: number('transmitInterval'),
    detectMultiplier: number('detectMultiplier'),
    ...(spec.passiveMode === true && { passive: true }),
  };
  if (spec.echoMode === true)
    problems.push({ field: 'spec.echoMode', reason: 'BIRD has no echo mode: leave it out, or false' });
  const { namespace = '', name = '' } = object.metadata;
  return { value: problems.length === 0 ? { namespace, name, bfd } : undefined, problems };
}

/** The profiles by `namespace/name`. */
export const profilesByName = (profiles: readonly Profile[]): ReadonlyMap<string, NodeBfd> =>
  new Map(profiles.map((profile) => [keyOf(profile), profile.bfd]));
