// Says who answers a name and why: the server block and plugin of the Corefile, and the objects of the cluster. Pure.

import { isWithin, isWithinAny } from '../cache.ts';
import { type ConfigFiles, HostsPlugin } from '../chain/hosts.ts';
import { noUpstream } from '../chain/reply.ts';
import { rewrite } from '../chain/rewrite.ts';
import { endpointSliceOwner } from '../content.ts';
import {
  defaultPort,
  type ForwardOptions,
  type KubernetesOptions,
  type ServerBlock,
  type ServerConfig,
} from '../corefile/config.ts';
import { isReverseZone } from '../corefile/kubernetes.ts';
import { typeNames } from '../corefile/values.ts';
import { type Name, rcode } from '../records.ts';
import { type Resolution, resolve, type ZoneView } from '../resolve.ts';
import { addressOfReverse, serviceEntry } from '../service-entry.ts';
import { ServiceTable } from '../service-table.ts';
import { type Explanation, explainName, type NamedObjects } from './explain.ts';

export interface NameExplanation extends Explanation {
  /** The plugin that answers: `kubernetes`, `hosts`, `forward`; empty where none does. */
  readonly by: string;
  /** The line of the Corefile that leads there. */
  readonly line?: number;
  /** The addresses that the objects say, where the answer is the cluster's: a server that says others is behind. */
  readonly expected?: readonly string[];
}

export class Explainer {
  readonly #config: ServerConfig;
  readonly #files: ConfigFiles;
  readonly #objects: NamedObjects;

  constructor(config: ServerConfig, files: ConfigFiles, objects: NamedObjects) {
    this.#config = config;
    this.#files = files;
    this.#objects = objects;
  }

  /** Who answers, and why so. `type` is the type of records that is asked for. */
  explain(name: Name, type: string): NameExplanation {
    const block = this.#blockFor(name);
    if (block === undefined) return { by: '', objects: [], why: 'no server block of the Corefile is for this name' };
    const question = {
      name,
      type: typeNames[type] ?? 1,
      class: 1,
      dnssecOk: false,
      checkingDisabled: false,
      transport: 'udp',
      client: { address: '', port: 0 },
      depth: 0,
    } as const;
    const changed = rewrite(block.rewrites, question)?.question.name;
    if (changed === undefined || changed === name) return this.#explainIn(block, name, type);
    const inner = this.#explainIn(block, changed, type);
    return { ...inner, why: `the Corefile rewrites it to ${changed}: ${inner.why}` };
  }

  #blockFor(name: Name): ServerBlock | undefined {
    const zoneIn = (block: ServerBlock): number =>
      Math.max(-1, ...block.zones.filter((zone) => isWithin(name, zone)).map(({ length }) => length));
    return this.#config.blocks
      .filter((block) => block.port === defaultPort && zoneIn(block) >= 0)
      .sort((a, b) => zoneIn(b) - zoneIn(a))[0];
  }

  #explainIn(block: ServerBlock, name: Name, type: string): NameExplanation {
    const { hosts, kubernetes } = block;
    const entry = hosts?.entries.find(({ names }) => names.includes(name));
    if (hosts !== undefined && entry !== undefined) {
      const why = `an entry of hosts in the Corefile: ${entry.address}`;
      return { by: 'hosts', line: hosts.line, objects: [], why };
    }
    if (hosts !== undefined && this.#isInFile(hosts, block, name))
      return { by: 'hosts', line: hosts.line, objects: [], why: `an entry of ${hosts.file}` };
    const own = kubernetes === undefined ? undefined : this.#fromCluster(kubernetes, name, type);
    return own ?? this.#forwarded(block, name);
  }

  #isInFile(options: NonNullable<ServerBlock['hosts']>, block: ServerBlock, name: Name): boolean {
    const plugin = new HostsPlugin(options, block.zones, this.#files);
    plugin.readKeys();
    return plugin.answer(name, 1)?.rcode === rcode.noError;
  }

  /** Undefined where the name is none of the cluster's, or falls through. */
  #fromCluster(options: KubernetesOptions, name: Name, type: string): NameExplanation | undefined {
    const zone = options.zones.find((one) => isWithin(name, one));
    if (zone === undefined) return undefined;
    const view = viewOf(this.#objects, options, isReverseZone(zone) ? (options.zones[0] ?? '') : zone);
    const found = resolve(view, name, typeNames[type] ?? 1);
    const falls = options.fallthrough !== undefined && isWithinAny(name, options.fallthrough);
    if ((found === undefined || found.rcode === rcode.noSuchName) && falls) return undefined;
    const base = { by: 'kubernetes', line: options.line, expected: addressesIn(found) };
    if (isReverseZone(zone)) return { ...base, ...explainReverse(this.#objects, name, found) };
    return { ...base, ...explainName(this.#objects, zone, name, type, (found?.answers.length ?? 0) > 0) };
  }

  #forwarded(block: ServerBlock, name: Name): NameExplanation {
    const responsible = block.forwards.find(({ from, except }) => isWithin(name, from) && !isWithinAny(name, except));
    if (responsible !== undefined)
      return { by: 'forward', line: responsible.line, objects: [], why: `asked of ${targetsText(responsible)}` };
    const why =
      block.forwards.length > 0
        ? 'no forward of the Corefile is for this name'
        : `it is no name of the cluster, and there is ${noUpstream}`;
    return { by: '', objects: [], line: block.line, why };
  }
}

const targetsText = ({ to }: ForwardOptions): string =>
  to.map((one) => (one.kind === 'file' ? `the servers of ${one.path}` : `${one.address} port ${one.port}`)).join(', ');

/** The view that a server has of these objects, under the options of the Corefile. */
function viewOf(objects: NamedObjects, options: KubernetesOptions, zone: Name): ZoneView {
  const table = new ServiceTable();
  for (const service of objects.services) {
    const { name = '', namespace = '' } = service.metadata;
    const own = objects.slices.filter(
      ({ metadata }) => metadata.namespace === namespace && metadata.labels?.[endpointSliceOwner] === name,
    );
    if (options.namespaces === undefined || options.namespaces.includes(namespace))
      table.set(namespace, name, serviceEntry(service, own, options));
  }
  const names = new Set(objects.namespaces.map(({ metadata }) => metadata.name));
  return { zone, ttl: options.ttl, serial: 0, table, pods: options.pods, namespaceExists: (one) => names.has(one) };
}

const addressesIn = (found: Resolution | undefined): string[] =>
  (found?.answers ?? []).flatMap(({ data }) => ('ip' in data ? [data.ip] : []));

function explainReverse(objects: NamedObjects, name: Name, found: Resolution | undefined): Explanation {
  const ip = addressOfReverse(name);
  if (ip === undefined) return { objects: [], why: 'this is no whole address' };
  const service = objects.services.find(({ spec }) => spec?.clusterIPs?.includes(ip));
  if (service !== undefined) {
    const own = `Service ${service.metadata.namespace}/${service.metadata.name}`;
    return { objects: [own], why: `${ip} is the address of ${own}` };
  }
  const slice = objects.slices.find(({ endpoints = [] }) => endpoints.some(({ addresses }) => addresses.includes(ip)));
  if (slice !== undefined && found !== undefined)
    return {
      objects: [`EndpointSlice ${slice.metadata.namespace}/${slice.metadata.name}`],
      why: `${ip} is the address of an endpoint`,
    };
  return { objects: [], why: `${ip} is the address of no Service and of no endpoint of one` };
}
