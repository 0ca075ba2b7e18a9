// weft node: commands inside of a node's namespaces.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { Command } from 'commander';
import type { ClusterLayout, NodeLayout } from '../cluster/layout.ts';
import { netnsPath, nsenterCommand } from '../linux/netns.ts';
import { existingCluster, nameOption } from './options.ts';

export function nodeCommand(): Command {
  const node = new Command('node').description('look at a node from inside').enablePositionalOptions();
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
  return node;
}

function findNode(layout: ClusterLayout, which: string): NodeLayout {
  const found = layout.nodes.find(({ name, role }) => name === which || role === which);
  if (found === undefined)
    throw new Error(`there is no node '${which}'; there are ${layout.nodes.map(({ name }) => name).join(', ')}`);
  return found;
}

/** Runs the command there and ends as it ends. */
async function enter(cluster: string, which: string, command: readonly string[]): Promise<void> {
  const { layout } = existingCluster(cluster);
  const node = findNode(layout, which);
  if (!existsSync(node.mountNamespace))
    throw new Error(`the cluster '${cluster}' does not run; bring it back by './weft up --name ${cluster}'`);
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
