// weft dns lookup: a name asked for real, from a pod or from a node, and why the answer is what it is.
import { Command, Option } from 'commander';
import { type ClusterLayout, clusterDomain, dnsAddresses } from '../cluster/layout.ts';
import { podNetwork } from '../cluster/pod-network.ts';
import type { ClusterSettings } from '../cluster/settings.ts';
import { readConfigMap, sourceOf } from '../dns/config-map.ts';
import { readCorefile } from '../dns/corefile/corefile.ts';
import { defaultCorefile } from '../dns/corefile/default.ts';
import { typeNames } from '../dns/corefile/values.ts';
import { didYouMean } from '../dns/lookup/explain.ts';
import { Explainer } from '../dns/lookup/explainer.ts';
import { type Lookup, lookup, type Step } from '../dns/lookup/lookup.ts';
import { clusterFirst, type ResolverSettings, readResolver } from '../dns/lookup/resolver.ts';
import type { Client } from '../k8s/client.ts';
import { endpointSlices, namespaces, pods, services } from '../k8s/resources.ts';
import type { Pod } from '../k8s/types.generated.ts';
import { netnsPath } from '../linux/netns.ts';
import { familyOf } from '../net/address.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { print, printJson, UsageError } from './output.ts';

interface Options {
  readonly name: string;
  readonly from?: string;
  readonly namespace: string;
  readonly type?: string;
  readonly output?: 'json';
}

export function lookupCommand(): Command {
  return new Command('lookup')
    .description('ask for a name as a pod does: which names are tried, who answers, from which object, and why not')
    .argument('<name>', 'web, web.default, example.org; with a final dot it is tried as it is')
    .option('--from <pod>', 'the pod that asks, with its own network and resolv.conf: web-0, NAMESPACE/web-0')
    .option('-n, --namespace <namespace>', 'the namespace of the pod, or of the search list without one', 'default')
    .option('--type <type>', 'the type of records; without it, addresses of the families that the asking side has')
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(run);
}

/** Where is asked from, and how. */
interface Asking {
  readonly from: string;
  readonly netns: string;
  readonly resolver: ResolverSettings;
  readonly types: readonly string[];
  /** What is unusual in how it asks. */
  readonly hint?: string;
}

async function run(wanted: string, options: Options): Promise<void> {
  const type = options.type?.toUpperCase();
  if (type !== undefined && typeNames[type] === undefined)
    throw new UsageError(`--type: '${options.type}' is no type of records such as A, AAAA, SRV or TXT`);
  if (!/^(\.|[^.]+(\.[^.]+)*\.?)$/.test(wanted))
    throw new UsageError(`'${wanted}' is no name: between its dots there must be something`);
  const { settings, layout } = existingCluster(options.name);
  const [asking, explainer] = await withClient(layout, async (client) => {
    const found = await findAsking(client, settings, layout, options);
    return [found, await readExplainer(client)];
  });
  const types = type === undefined ? asking.types : [type];
  const { netns, resolver, from } = asking;
  const found = await lookup({ name: wanted, types, resolver, netns, explainer });
  if (options.output === 'json') printJson({ name: wanted, from, resolver, ...found });
  else printLookup(wanted, asking, found);
  if (found.answers.length === 0) process.exitCode = 1;
}

async function findAsking(
  client: Client,
  settings: ClusterSettings,
  layout: ClusterLayout,
  { from, namespace }: Options,
): Promise<Asking> {
  const servers = dnsAddresses(settings);
  if (from === undefined) {
    const [node] = layout.nodes;
    if (node === undefined) throw new Error('the cluster has no node');
    return {
      from: `node ${node.name}, as a pod of namespace ${namespace}`,
      netns: netnsPath(node.name),
      resolver: clusterFirst(namespace, clusterDomain, servers.slice(0, 1)),
      types: servers.map((ip) => (familyOf(ip) === 'IPv4' ? 'A' : 'AAAA')),
    };
  }
  const pod = await findPod(client, from, namespace);
  const named = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
  const network = podNetwork(layout, pod.metadata.uid ?? '');
  if (network === undefined)
    throw new Error(
      `${named} has no running container (${pod.status?.phase ?? 'Pending'}); it can be asked from when it runs`,
    );
  const families = new Set((pod.status?.podIPs ?? []).map(({ ip }) => (ip.includes(':') ? 'AAAA' : 'A')));
  return {
    from: `${named} on ${pod.spec?.nodeName ?? 'no node'}`,
    netns: network.netns,
    resolver: readResolver(network.resolvConf),
    types: families.size > 0 ? [...families] : ['A'],
    ...(pod.spec?.hostNetwork === true &&
      pod.spec.dnsPolicy !== 'ClusterFirstWithHostNet' && { hint: hostNetworkHint }),
  };
}

const hostNetworkHint =
  'it is in the network of its node and has the resolver of the node; dnsPolicy: ClusterFirstWithHostNet gives it that of the cluster';

async function findPod(client: Client, from: string, otherwise: string): Promise<Pod> {
  const [namespace = '', name = ''] = from.includes('/') ? from.split('/') : [otherwise, from];
  const { items } = await client.list(pods, { namespace });
  const found = items.find(({ metadata }) => metadata.name === name);
  if (found !== undefined) return found;
  const names = items.map(({ metadata }) => metadata.name);
  throw new Error(`there is no pod ${name} in namespace ${namespace}${didYouMean(name, names)}`);
}

/** The Corefile and the objects as they are now; with a Corefile that is refused, what a cluster begins with. */
async function readExplainer(client: Client): Promise<Explainer> {
  const [configMap, allNamespaces, allServices, slices] = await Promise.all([
    readConfigMap(client),
    client.list(namespaces),
    client.list(services),
    client.list(endpointSlices),
  ]);
  const source = sourceOf({ environment: {} }, configMap);
  const own = await readCorefile(configMap?.data?.Corefile ?? '', source);
  const read = own.config ?? (await readCorefile(defaultCorefile({ zone: clusterDomain, upstreams: [] }))).config;
  if (read === undefined) throw new Error('the default Corefile cannot be read');
  const objects = { namespaces: allNamespaces.items, services: allServices.items, slices: slices.items };
  return new Explainer(read, { get: (key) => configMap?.data?.[key] }, objects);
}

function printLookup(wanted: string, { from, resolver, hint }: Asking, found: Lookup): void {
  print(`${wanted} from ${from}`);
  if (hint !== undefined) print(`  note: ${hint}`);
  print(
    `  server ${resolver.servers.join(', ') || 'none'}; search ${resolver.search.join(' ') || '-'}; ndots ${resolver.ndots}`,
  );
  print('');
  for (const [index, step] of found.steps.entries()) printStep(index + 1, step);
  const last = found.steps.at(-1);
  if (found.answers.length > 0) print(`${wanted} is ${found.answers.join(', ')}`);
  else print(`${wanted} was not found: ${last?.problem ?? mostTelling(found.steps)}`);
}

function printStep(number: number, { name, type, answer, problem, explanation, notes }: Step): void {
  const what = problem ?? outcomeOf(answer);
  const took = answer === undefined ? '' : `   ${answer.milliseconds} ms`;
  print(`${number}. ${name}.   ${type}   ${what}${took}`);
  const line = explanation.line === undefined ? '' : ` (Corefile:${explanation.line})`;
  print(`   ${explanation.by === '' ? 'nobody' : `${explanation.by}${line}`}: ${explanation.why}`);
  if (explanation.objects.length > 0) print(`   from ${explanation.objects.join(', ')}`);
  for (const note of notes) print(`   note: ${note}`);
  print('');
}

function outcomeOf(answer: Step['answer']): string {
  if (answer === undefined) return 'no answer';
  if (answer.records.length === 0) return answer.rcode === 'NOERROR' ? 'NOERROR, no such record' : answer.rcode;
  return answer.records.map(({ type, data, ttl }) => `${type} ${data} (${ttl} s)`).join(', ');
}

/** Of all that was tried, the reason that names an object or a likely slip; else that of the name as it was given. */
function mostTelling(steps: readonly Step[]): string {
  const telling =
    steps.find(({ explanation }) => explanation.objects.length > 0) ??
    steps.find(({ explanation: { why } }) => why.includes('did you mean') || why.includes('there is one in'));
  if (telling !== undefined) return telling.explanation.why;
  const failed = steps.find(({ answer }) => answer !== undefined && !['NOERROR', 'NXDOMAIN'].includes(answer.rcode));
  if (failed?.answer !== undefined)
    return `${failed.answer.rcode}: ${failed.answer.explanations[0] ?? failed.explanation.why}`;
  return steps.at(-1)?.explanation.why ?? 'nothing was tried';
}
