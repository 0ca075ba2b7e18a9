// weft bgp: the sessions of a cluster's nodes, and the routers outside that they talk to.
import { Command, InvalidArgumentError, Option } from 'commander';
import type { ClusterLayout, NodeLayout } from '../cluster/layout.ts';
import { readProcessFile } from '../cluster/process-file.ts';
import { controlSocketName } from '../fabric/bgp/bird.ts';
import { withoutPeer, withPeer } from '../fabric/bgp/edit-peers.ts';
import type { SessionStatus } from '../fabric/bgp/sessions.ts';
import { BgpSettingsError, bgpSettingsEntry, bgpSettingsKey } from '../fabric/bgp/settings.ts';
import { birdRunDir } from '../fabric/bgp/start.ts';
import { readSpeakerStatus, type SpeakerStatus } from '../fabric/bgp/status.ts';
import { isNotFound } from '../k8s/client.ts';
import { configMaps } from '../k8s/resources.ts';
import { existingCluster, nameOption, requireRunning, withClient } from './options.ts';
import { print, printJson, printTable, UsageError } from './output.ts';

export function bgpCommand(): Command {
  const bgp = new Command('bgp')
    .description('BGP between the nodes and with routers outside')
    .enablePositionalOptions();
  bgp
    .command('status')
    .description("each node's sessions: with whom, in which state, since when, routes in and out")
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ name, output }: { name: string; output?: 'json' }) => show(name, output === 'json'));
  const peer = bgp.command('peer').description('routers outside of the cluster').enablePositionalOptions();
  peer
    .command('add')
    .description('let the nodes talk to a router, or change how')
    .argument('<peer>', 'a name for it: tor')
    .requiredOption('--address <ip>', 'its address')
    .requiredOption('--as <number>', 'its AS number', wholeNumber)
    .option('--accept <cidr,…>', 'what is taken from it: these ranges and all within them', list)
    .option(
      '--advertise <what>',
      "what it is told: each node's own range, or those of the whole cluster (own, cluster)",
    )
    .option('--node-selector <key=value,…>', 'only these nodes talk to it', labels)
    .option('--multihop <n>', 'how many hops away it may be', wholeNumber)
    .option('--password-key <key>', 'the key of its password in the Secret kube-system/weft-bgp')
    .addOption(nameOption())
    .action(addPeer);
  peer
    .command('remove')
    .description('end the sessions with a router')
    .argument('<peer>', 'its name')
    .addOption(nameOption())
    .action(removePeer);
  return bgp;
}

const list = (text: string): string[] => text.split(',').map((part) => part.trim());

function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function labels(text: string): Record<string, string> {
  return Object.fromEntries(
    list(text).map((pair) => {
      const [key = '', value, ...more] = pair.split('=');
      if (key === '' || value === undefined || more.length > 0)
        throw new InvalidArgumentError('It must look like rack=a,zone=b.');
      return [key, value];
    }),
  );
}

interface NodeStatus {
  readonly node: string;
  /** Absent where no BIRD runs. */
  readonly speaker?: SpeakerStatus;
}

async function show(name: string, asJson: boolean): Promise<void> {
  const { layout } = existingCluster(name);
  await requireRunning(layout);
  const nodes = await Promise.all(layout.nodes.map((node) => statusOf(layout, node)));
  if (asJson) return printJson({ nodes });
  if (nodes.every(({ speaker }) => speaker === undefined)) {
    print(`No node of '${name}' speaks BGP; choose it by './weft fabric set bgp --name ${name}'.`);
    return;
  }
  printTable([
    ['NODE', 'NEIGHBOUR', 'ADDRESS', 'AS', 'STATE', 'SINCE', 'IN', 'OUT', 'REFUSED'],
    ...nodes.flatMap(({ node, speaker }) =>
      speaker === undefined ? [[node, '(no BIRD runs there)']] : speaker.sessions.map((one) => [node, ...row(one)]),
    ),
  ]);
  for (const { node, speaker } of nodes)
    for (const { name: session, lastError } of speaker?.sessions ?? [])
      if (lastError !== undefined) print(`${node}, ${neighbour(session)}: ${lastError}`);
}

function row({ name, neighbor, neighborAs, state, since, imported, exported, filtered }: SessionStatus): string[] {
  return [
    neighbour(name),
    neighbor,
    ...[String(neighborAs), state, since],
    ...[imported, exported, filtered].map(String),
  ];
}

/** `node:weft-worker` is how BIRD calls the session with that node, `lb:NAMESPACE:NAME` that of a BGPPeer. */
const neighbour = (session: string): string =>
  session.replace(/^(node|peer):/, '$1 ').replace(/^lb:([^:]*):/, 'BGPPeer $1/');

async function statusOf(layout: ClusterLayout, node: NodeLayout): Promise<NodeStatus> {
  // The socket lies in the node's own mount namespace, which its processes see.
  const inside = ['agent', 'containerd'].flatMap((one) => readProcessFile(layout.pids, `${node.role}/${one}`) ?? [])[0];
  const speaker = inside && (await readSpeakerStatus(`/proc/${inside.pid}/root${birdRunDir}/${controlSocketName}`));
  return { node: node.name, ...(speaker !== undefined && { speaker }) };
}

interface AddOptions {
  readonly name: string;
  readonly address: string;
  readonly as: number;
  readonly accept?: readonly string[];
  readonly advertise?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly multihop?: number;
  readonly passwordKey?: string;
}

async function addPeer(peer: string, { name, as, nodeSelector, ...given }: AddOptions): Promise<void> {
  const selector = nodeSelector === undefined ? {} : { nodeSelector: { matchLabels: nodeSelector } };
  const entry = { name: peer, asNumber: as, ...given, ...selector };
  checkAlone(entry);
  await edit(name, (text) => withPeer(text, entry));
  print(`The nodes talk to ${peer} (${given.address}); see './weft bgp status --name ${name}'.`);
}

const optionOf: Readonly<Record<string, string>> = {
  ...{ name: 'the name', address: '--address', asNumber: '--as', accept: '--accept', advertise: '--advertise' },
  ...{ nodeSelector: '--node-selector', multihop: '--multihop', passwordKey: '--password-key' },
};

/** What is wrong with the options themselves is told by their names, before a cluster is looked for. */
function checkAlone(entry: Parameters<typeof withPeer>[1]): void {
  try {
    withPeer('', entry);
  } catch (error) {
    if (!(error instanceof BgpSettingsError)) throw error;
    const inOptions = (line: string): string =>
      line.replace(/^peers\[0\]\.(\w+)[^:]*:/, (place, field: string) => optionOf[field] ?? place);
    throw new UsageError(error.message.split('\n').map(inOptions).join('; '));
  }
}

async function removePeer(peer: string, { name }: { name: string }): Promise<void> {
  await edit(name, (text) => {
    const changed = withoutPeer(text, peer);
    if (changed === undefined) throw new Error(`there is no peer '${peer}'`);
    return changed;
  });
  print(`The nodes do not talk to ${peer} any more.`);
}

/** Changes the settings in the ConfigMap, which is made where it is missing. */
async function edit(cluster: string, change: (text: string) => string): Promise<void> {
  const { layout } = existingCluster(cluster);
  await withClient(layout, async (client) => {
    const present = await client.get(configMaps, bgpSettingsKey).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    const data = { ...present?.data, [bgpSettingsEntry]: changed(present?.data?.[bgpSettingsEntry] ?? '', change) };
    // With its version: what someone else wrote meanwhile is not overwritten.
    if (present !== undefined) await client.update(configMaps, { ...present, data });
    else await client.create(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: bgpSettingsKey, data });
  });
}

/** What is wrong then is in the settings that are there, or between them and what is new. */
function changed(text: string, change: (text: string) => string): string {
  try {
    return change(text);
  } catch (error) {
    if (!(error instanceof BgpSettingsError)) throw error;
    throw new Error(`the ConfigMap kube-system/weft-bgp: ${error.message.replaceAll('\n', '; ')}`);
  }
}
