// Which node announces an address on its link: the same answer on every node that sees the same. Pure.
import { createHash } from 'node:crypto';
import { onLinkAnnotation } from '../k8s/load-balancer.ts';
import type { Node } from '../k8s/types.generated.ts';
import { type Cidr, cidrContains, type Ip, parseCidr } from '../net/address.ts';
import type { L2 } from './advertisements.ts';

export interface ElectionInput {
  readonly nodes: readonly Node[];
  /** The advertisements that are about the address. */
  readonly advertisements: readonly L2[];
  /** The nodes that may have it by the Service's endpoints; undefined: all. */
  readonly eligible: ReadonlySet<string> | undefined;
  /** Whether a node's agent answers. */
  readonly isAlive: (node: string) => boolean;
}

const excluded = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** The node that announces the address; undefined where none can. */
export function ownerOf(address: Ip, input: ElectionInput): string | undefined {
  const candidates = input.nodes.filter(
    (node) =>
      canAnnounce(node) &&
      input.isAlive(node.metadata.name ?? '') &&
      input.eligible?.has(node.metadata.name ?? '') !== false &&
      input.advertisements.some(({ coversNode }) => coversNode(node.metadata.labels)),
  );
  // Who asks for an address of a network is on that network: there a node of another one would not be heard.
  const onLink = candidates.filter((node) => networksOf(node).some((range) => cidrContains(range, address)));
  const ranked = (onLink.length > 0 ? onLink : candidates)
    .map((node) => ({
      name: node.metadata.name ?? '',
      preference: preferenceOf(node, input.advertisements),
      rank: createHash('sha256').update(`${node.metadata.name}#${address}`).digest('hex'),
    }))
    .sort((a, b) => b.preference - a.preference || (a.rank < b.rank ? -1 : 1));
  return ranked[0]?.name;
}

/** Whether a node is fit to announce anything: Ready, and not excluded by its label. */
export function canAnnounce({ metadata, status }: Node): boolean {
  const isReady = status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
  return isReady && metadata.labels?.[excluded] === undefined;
}

function preferenceOf({ metadata }: Node, advertisements: readonly L2[]): number {
  const own = advertisements.filter(({ coversNode }) => coversNode(metadata.labels));
  return own.reduce((most, { preference }) => Math.max(most, preference(metadata.labels)), 0);
}

function networksOf({ metadata }: Node): Cidr[] {
  const texts = metadata.annotations?.[onLinkAnnotation]?.split(',') ?? [];
  return texts.flatMap((text) => parseCidr(text) ?? []);
}
