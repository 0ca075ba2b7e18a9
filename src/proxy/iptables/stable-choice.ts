// Decides the rules of iptables that choose an endpoint by the client's address, always the same one. Pure.
// A hash of the address takes 32 values, and two of them 1024: as many slots as there are in nftables.
import { type Match, ruleText } from '../../linux/iptables.ts';
import { stableSlots } from '../nftables/slots.ts';
import type { Backend } from '../service-port.ts';
import { partOf } from './chain-names.ts';

const values = 32;
/** Any two numbers will do, as long as they are the same on every node. */
const seeds = [0x57656674, 0x74666557] as const;

const valued = (seed: number, value: number): Match => ({ match: 'source hash', seed, value });
const toChain = (matches: readonly Match[], chain: string): string =>
  ruleText({ matches, target: { to: 'chain', chain } });

/** The chain of an endpoint, and what else is said in a rule that leads there. */
type Lead = (backend: Backend) => { readonly matches: readonly Match[]; readonly chain: string };

/**
 * The rules at the end of a balancing chain, which lead to its parts by the first hash, and the parts, which lead to the
 * endpoints by the second. When an endpoint goes, only its own clients get another one.
 */
export function stableChoice(
  chain: string,
  endpoints: readonly Backend[],
  lead: Lead,
): { readonly rules: string[]; readonly parts: Map<string, string[]> } {
  const slots = stableSlots(endpoints);
  const rules: string[] = [];
  const parts = new Map<string, string[]>();
  for (let part = 0; part < values; part++) {
    const name = partOf(chain, part);
    // The last one takes what is left, so that a connection always gets an endpoint.
    rules.push(toChain(part === values - 1 ? [] : [valued(seeds[0], part)], name));
    parts.set(name, partRules(slots.slice(part * values, (part + 1) * values), lead));
  }
  return { rules, parts };
}

/** A rule for each value of the second hash; one for all those of the endpoint that has the most, at the end. */
function partRules(owners: readonly Backend[], lead: Lead): string[] {
  const counts = new Map<Backend, number>();
  for (const owner of owners) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a).map(([owner]) => owner);
  const rules = owners.flatMap((owner, value) => {
    const { matches, chain } = lead(owner);
    return owner === most ? [] : [toChain([...matches, valued(seeds[1], value)], chain)];
  });
  if (most === undefined) return rules;
  const { matches, chain } = lead(most);
  return [...rules, toChain(matches, chain)];
}
