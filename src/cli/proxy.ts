// weft proxy: how Services are written into the kernel of the nodes, and the change to another way.
import { Command, Option } from 'commander';
import { ensureProxyPrograms } from '../cluster/optional-programs.ts';
import { checkKernelFor, chooseProxyMode, proxyModeInPlace, proxyStatus } from '../cluster/proxy-mode.ts';
import { decideProxySettings } from '../cluster/proxy-settings.ts';
import { readSettings, writeSettings } from '../cluster/stored-settings.ts';
import { ipvsSchedulers, proxyModes } from '../k8s/network-config.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { formatMs, print, printJson, printTable } from './output.ts';

const patienceMs = 30_000;

export function proxyCommand(): Command {
  const proxy = new Command('proxy')
    .description('how Services are written into the kernel: the mode that is chosen, and that of each node')
    .enablePositionalOptions()
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ name, output }: { name: string; output?: 'json' }) => show(name, output === 'json'));
  proxy
    .command('mode')
    .description('change to another mode; connections go on and no request fails')
    .argument('<mode>', proxyModes.join(', '))
    .option(
      '--ipvs-scheduler <name>',
      `with ipvs: how an endpoint is chosen: ${ipvsSchedulers.join(', ')} (default: rr)`,
    )
    .addOption(nameOption())
    .action(change);
  return proxy;
}

async function show(name: string, asJson: boolean): Promise<void> {
  const { settings, layout } = existingCluster(name);
  const status = await withClient(layout, (client) => proxyStatus(client, settings.proxyMode));
  if (asJson) return printJson(status);
  print(`Proxy mode ${status.mode}`);
  if (status.problem !== undefined) print(status.problem);
  print('');
  printTable([['NODE', 'IN PLACE'], ...status.nodes.map(({ node, inPlace }) => [node, inPlace ?? '-'])]);
}

async function change(text: string, { name, ipvsScheduler }: { name: string; ipvsScheduler?: string }): Promise<void> {
  const begin = performance.now();
  const chosen = decideProxySettings({ proxyMode: text, ipvsScheduler }, 'proxy mode');
  const { settings, layout } = existingCluster(name);
  const mode = chosen.proxyMode;
  await checkKernelFor(chosen);
  await withClient(layout, async (client) => {
    await ensureProxyPrograms(mode);
    await chooseProxyMode(client, chosen);
    // Read again: nodes may have come or gone meanwhile.
    writeSettings({ ...(readSettings(settings.name) ?? settings), ...chosen });
    await proxyModeInPlace(client, mode, patienceMs);
  });
  print(`The proxy mode of '${name}' is ${mode} on every node, after ${formatMs(performance.now() - begin)}.`);
}
