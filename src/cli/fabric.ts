// weft fabric: how the nodes reach the pods of others, and the change to another way.
import { Command, Option } from 'commander';
import { chooseFabric, fabricInPlace, fabricStatus } from '../cluster/fabric.ts';
import { checkEncryption, checkFabricKind, checkReach } from '../cluster/fabric-settings.ts';
import { ensureFabricPrograms, requireWireguard } from '../cluster/optional-programs.ts';
import { SettingsError } from '../cluster/settings-error.ts';
import { readSettings, writeSettings } from '../cluster/stored-settings.ts';
import { fabricKinds } from '../k8s/network-config.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { formatMs, print, printJson, printTable } from './output.ts';

const patienceMs = 30_000;

interface SetOptions {
  readonly name: string;
  readonly crossSubnet?: boolean;
  readonly encrypt?: boolean;
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
    .option('--encrypt', 'host-gw, vxlan: what pods say to other nodes is encrypted, by WireGuard')
    .option('--no-encrypt', 'in clear')
    .action(change);
  return fabric;
}

async function show(name: string, asJson: boolean): Promise<void> {
  const { layout } = existingCluster(name);
  const status = await withClient(layout, fabricStatus);
  if (asJson) return printJson(status);
  const direct = status.fabric === 'vxlan' && status.crossSubnet ? ', direct on one subnet' : '';
  print(`Fabric ${status.fabric}${status.encrypted ? ', encrypted by WireGuard' : direct}`);
  for (const problem of status.problems) print(`kube-system/weft-config: ${problem}`);
  print('');
  printTable([
    ['NODE', 'IN PLACE', 'TUNNELS END AT', 'PUBLIC KEY'],
    ...status.nodes.map(({ node, inPlace, vtep, wireguardKey }) => [
      ...[node, inPlace ?? '-', vtep ?? '-', wireguardKey ?? '-'],
    ]),
  ]);
}

async function change(kind: string, options: SetOptions): Promise<void> {
  const begin = performance.now();
  const fabric = checkFabricKind(kind, 'fabric');
  if (options.crossSubnet === true && fabric !== 'vxlan')
    throw new SettingsError(`--cross-subnet is an option of vxlan, and ${fabric} has no tunnels`);
  if (options.encrypt === true) checkEncryption(fabric, options.crossSubnet === true);
  const { settings, layout } = existingCluster(options.name);
  checkReach(fabric, settings.underlaySubnets);
  const encrypt = options.encrypt ?? settings.encrypt;
  const crossSubnet = fabric === 'vxlan' && (options.crossSubnet ?? (settings.crossSubnet && !encrypt));
  if (encrypt) {
    checkEncryption(fabric, crossSubnet);
    requireWireguard();
  }
  const choice = { fabric, crossSubnet, encrypt };
  await withClient(layout, async (client) => {
    await ensureFabricPrograms(fabric);
    await chooseFabric(client, choice);
    // Read again: nodes may have come or gone meanwhile.
    writeSettings({ ...(readSettings(settings.name) ?? settings), ...choice });
    await fabricInPlace(client, choice, patienceMs);
  });
  print(
    `The fabric of '${options.name}' is ${fabric}${encrypt ? ', encrypted,' : ''} on every node, after ${formatMs(performance.now() - begin)}.`,
  );
}
