// weft node: commands inside of a node's namespaces; nodes that join and leave.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { Command } from 'commander';
import { type ClusterLayout, layoutOf } from '../cluster/layout.ts';
import { findNode, withNode, withoutNode } from '../cluster/members.ts';
import { readSettings } from '../cluster/stored-settings.ts';
import { askForNodes } from '../cluster/supervisor-socket.ts';
import { netnsPath, nsenterCommand } from '../linux/netns.ts';
import { existingCluster, nameOption, notRunning, requireRunning } from './options.ts';
import { print, Steps } from './output.ts';

export function nodeCommand(): Command {
  const node = new Command('node')
    .description('look at a node from inside; add and remove nodes')
    .enablePositionalOptions();
  node
    .command('exec')
    .description("run a command in the node's network, mount and UTS namespaces")
    .usage('[--name NAME] NODE [--name NAME] -- CMD…')
    .argument('<node>', 'the node, with or without the cluster in its name: worker, weft-worker')
    .argument('<command...>', 'the command and its arguments, after --')
    .addOption(nameOption())
    .action(async (which: string, command: string[], { name }: { name: string }) => enter(name, which, command));
  node
    .command('shell')
    .description('open a shell in the node')
    .argument('<node>', 'the node: worker, weft-worker')
    .addOption(nameOption())
    .action(async (which: string, { name }: { name: string }) => enter(name, which, [process.env.SHELL ?? '/bin/sh']));
  node
    .command('add')
    .description('add a node to a running cluster and wait until it is Ready')
    .addOption(nameOption())
    .action(async ({ name }: { name: string }) => add(name));
  node
    .command('remove')
    .description(
      'take a node from a running cluster: its pods end there first, and run elsewhere where others keep them',
    )
    .argument('<node>', 'the node: worker2, weft-worker2')
    .addOption(nameOption())
    .option('--force', 'at once, as if the machine had been switched off')
    .action(async (which: string, options: { name: string; force?: boolean }) => remove(which, options));
  return node;
}

async function add(cluster: string): Promise<void> {
  const { settings, layout } = existingCluster(cluster);
  withNode(settings);
  await change(layout, { type: 'add-node' });
  const nodes = layoutOf(readSettings(cluster) ?? settings).nodes.length;
  print(`The cluster '${cluster}' has ${nodes} nodes.`);
}

async function remove(
  which: string,
  { name: cluster, force = false }: { name: string; force?: boolean },
): Promise<void> {
  const { settings, layout } = existingCluster(cluster);
  const node = findNode(layout, which);
  withoutNode(settings, node);
  await change(layout, { type: 'remove-node', name: node.name, force });
  print(`The node ${node.name} is removed.`);
}

async function change(layout: ClusterLayout, request: Parameters<typeof askForNodes>[1]): Promise<void> {
  await requireRunning(layout);
  const steps = new Steps();
  steps.doing('Working');
  try {
    await askForNodes(layout.supervisorSocket, request, (text, ms) => steps.done(text, ms));
  } finally {
    steps.end();
  }
}

/** Runs the command there and ends as it ends. */
async function enter(cluster: string, which: string, command: readonly string[]): Promise<void> {
  const { layout } = existingCluster(cluster);
  const node = findNode(layout, which);
  if (!existsSync(node.mountNamespace)) throw notRunning(cluster);
  const namespaces = { net: netnsPath(node.name), mnt: node.mountNamespace, uts: node.utsNamespace };
  const [file = '', ...args] = nsenterCommand(namespaces, command);
  const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, WEFT_NODE: node.name } });
  const ignore = (): void => {};
  // A Ctrl-C is the command's; it reaches the whole foreground group.
  process.on('SIGINT', ignore);
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
