// weft fabric: how the nodes reach the pods of others, and the change to another way.
import { Command, Option } from 'commander';
import { adminClient } from '../cluster/admin-client.ts';
import { isRunning } from '../cluster/create.ts';
import { chooseFabric, fabricInPlace, fabricStatus } from '../cluster/fabric.ts';
import { ensureFabricPrograms } from '../cluster/fabric-programs.ts';
import { checkFabric } from '../cluster/fabric-settings.ts';
import type { ClusterLayout } from '../cluster/layout.ts';
import { SettingsError } from '../cluster/settings-error.ts';
import { readSettings, writeSettings } from '../cluster/stored-settings.ts';
import type { Client } from '../k8s/client.ts';
import { fabricKinds } from '../k8s/network-config.ts';
import { existingCluster, nameOption } from './options.ts';
import { formatMs, print, printJson, printTable } from './output.ts';

const patienceMs = 30_000;

interface SetOptions {
  readonly name: string;
  readonly crossSubnet?: boolean;
}

export function fabricCommand(): Command {
  const fabric = new Command('fabric')
    .description('how nodes reach the pods of other nodes: what is chosen, and what each node has in place')
    .enablePositionalOptions()
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ name, output }: { name: string; output?: 'json' }) => show(name, output === 'json'));
  fabric
    .command('set')
    .description('change to another fabric; pods go on running and talking')
    .argument('<kind>', fabricKinds.join(', '))
    .addOption(nameOption())
    .option('--cross-subnet', 'vxlan: nodes on one subnet reach each other without a tunnel')
    .option('--no-cross-subnet', 'vxlan: always through tunnels')
    .action(change);
  return fabric;
}

async function withClient<T>(layout: ClusterLayout, work: (client: Client) => Promise<T>): Promise<T> {
  if (!(await isRunning(layout)))
    throw new Error(`the cluster '${layout.name}' does not run; bring it back by './weft up --name ${layout.name}'`);
  const client = adminClient(layout, 'weft');
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

async function show(name: string, asJson: boolean): Promise<void> {
  const { layout } = existingCluster(name);
  const status = await withClient(layout, fabricStatus);
  if (asJson) return printJson(status);
  print(`Fabric ${status.fabric}${status.fabric === 'vxlan' && status.crossSubnet ? ', direct on one subnet' : ''}`);
  for (const problem of status.problems) print(`kube-system/weft-config: ${problem}`);
  print('');
  printTable([
    ['NODE', 'IN PLACE', 'TUNNELS END AT'],
    ...status.nodes.map(({ node, inPlace, vtep }) => [node, inPlace ?? '-', vtep ?? '-']),
  ]);
}

async function change(kind: string, options: SetOptions): Promise<void> {
  const begin = performance.now();
  const { settings, layout } = existingCluster(options.name);
  const fabric = checkFabric(kind, settings.underlaySubnets);
  if (options.crossSubnet === true && fabric !== 'vxlan')
    throw new SettingsError(`--cross-subnet is an option of vxlan, and ${fabric} has no tunnels`);
  const crossSubnet = fabric === 'vxlan' && (options.crossSubnet ?? settings.crossSubnet);
  await withClient(layout, async (client) => {
    await ensureFabricPrograms(fabric);
    await chooseFabric(client, fabric, crossSubnet);
    // Read again: nodes may have come or gone meanwhile.
    writeSettings({ ...(readSettings(settings.name) ?? settings), fabric, crossSubnet });
    await fabricInPlace(client, fabric, patienceMs);
  });
  print(`The fabric of '${options.name}' is ${fabric} on every node, after ${formatMs(performance.now() - begin)}.`);
}
