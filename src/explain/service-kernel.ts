// What of a Service is in the kernel of a node: what the proxy would write, beside what is there.
import { type CountedRule, countedRules } from '../linux/iptables-counters.ts';
import { elementsOf } from '../linux/nft.ts';
import { getElements } from '../linux/nft-get.ts';
import { type Family, familyOf } from '../net/address.ts';
import { filterChains, natChains } from '../proxy/iptables/chain-names.ts';
import { serviceRules } from '../proxy/iptables/service-rules.ts';
import { contribution } from '../proxy/nftables/elements.ts';
import { proxyTable } from '../proxy/nftables/table.ts';
import type { ServicePortModel } from '../proxy/service-port.ts';
import type { KernelEntry, KernelInput } from './kernel-entry.ts';
import { inIpvs } from './service-ipvs.ts';

/** What the models of one Service are in the kernel. Reads it in the namespace of the node. */
export function serviceInKernel(input: KernelInput): KernelEntry[] {
  return { nftables: inNftables, iptables: inIptables, ipvs: inIpvs }[input.mode](input);
}

const familiesOf = (models: readonly ServicePortModel[]): Family[] => [...new Set(models.map(({ family }) => family))];

function inNftables({ models, node, netns, clusterCidrs }: KernelInput): KernelEntry[] {
  return familiesOf(models).flatMap((family) => {
    const own = models.filter((model) => model.family === family);
    const { elements, runs = [] } = contribution(family, own, node);
    const wanted = [...elements, ...runs.flatMap(elementsOf)];
    const table = proxyTable(family, clusterCidrs);
    const used = new Set(wanted.map(({ set }) => set));
    return table.sets
      .filter(({ name }) => used.has(name))
      .flatMap((definition) => {
        const set = definition.name;
        const ofSet = wanted.filter((element) => element.set === set);
        const keys = ofSet.map(({ key }) => key);
        const held = getElements(netns, table, definition, keys);
        return ofSet.map(({ key, value }, index): KernelEntry => {
          const there = held[index];
          const same = there !== undefined && (there.value ?? '') === (value ?? '');
          return {
            family,
            place: `${value === undefined ? 'set' : 'map'} ${set}`,
            key,
            ...(value !== undefined && { wanted: value }),
            ...(there?.value !== undefined && { found: there.value }),
            ...(there?.packets !== undefined && { packets: there.packets }),
            state: there === undefined ? 'missing' : same ? 'as decided' : 'different',
          };
        });
      });
  });
}

function inIptables({ models, node, netns, clusterCidrs }: KernelInput): KernelEntry[] {
  return familiesOf(models).flatMap((family) => {
    const saved = countedRules(netns, family, 'nat KUBE-SERVICES');
    const podRange = clusterCidrs.find((range) => familyOf(range) === family);
    const options = { ...(podRange !== undefined && { podRange }), nodeAddresses: node.addresses, terse: false };
    return models
      .filter((model) => model.family === family)
      .flatMap((model) => {
        const { chains, shared } = serviceRules(model, options);
        const { nat, filter } = shared;
        const ofAll: [string, readonly string[]][] = [
          [`nat ${natChains.services}`, nat.services],
          [`nat ${natChains.nodePorts}`, nat.nodePorts],
          [`filter ${filterChains.services}`, filter.services],
          [`filter ${filterChains.externalServices}`, filter.externalServices],
          [`filter ${filterChains.nodePorts}`, filter.nodePorts],
          [`filter ${filterChains.firewall}`, filter.firewall],
        ];
        return [
          ...ofAll.flatMap(([place, wanted]) => {
            // In chains of all Services a rule is found by its comment and where it leads to.
            const keys = new Set(wanted.map(sharedKey));
            const held = saved.filter(({ chain, text }) => chain === place && keys.has(sharedKey(text)));
            return compared(family, place, wanted, held);
          }),
          ...[...chains].flatMap(([chain, wanted]) => {
            const place = `nat ${chain}`;
            return compared(
              family,
              place,
              wanted,
              saved.filter((rule) => rule.chain === place),
            );
          }),
        ];
      });
  });
}

/** The rules of one chain beside those that it has. */
function compared(
  family: Family,
  place: string,
  wantedRules: readonly string[],
  held: readonly CountedRule[],
): KernelEntry[] {
  return Array.from({ length: Math.max(wantedRules.length, held.length) }, (_, index): KernelEntry => {
    const [wanted, found] = [wantedRules[index], held[index]];
    // The kernel words a rule anew (order, fractions of probability); where it leads to does not change.
    const same = wanted !== undefined && found !== undefined && targetOf(wanted) === targetOf(found.text);
    return {
      family,
      place,
      key: String(index + 1),
      ...(wanted !== undefined && { wanted }),
      ...(found !== undefined && { found: found.text, packets: found.packets }),
      state: same ? 'as decided' : found === undefined ? 'missing' : 'different',
    };
  });
}

const sharedKey = (rule: string): string => {
  const [, quoted, plain = ''] = /--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))/.exec(rule) ?? [];
  const comment = quoted ?? plain;
  const [, destination = ''] = /(?:^| )-d (\S+?)(?:\/(?:32|128))?(?: |$)/.exec(rule) ?? [];
  return `${comment} ${destination} ${targetOf(rule)}`;
};

/** The target of a rule with its destination: `KUBE-SEP-…`, `DNAT 10.244.1.2:8080`. */
function targetOf(rule: string): string {
  const plain = rule.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  const target = /(?:^| )(?:-j|--jump|-g|--goto) (\S+)/.exec(plain)?.[1] ?? '';
  const destination = /--to-destination (\S+)/.exec(plain)?.[1];
  return destination === undefined ? target : `${target} ${destination}`;
}
