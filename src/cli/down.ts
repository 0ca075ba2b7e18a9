// weft down: removes a cluster and everything that it made.
import { Command } from 'commander';
import { takeLock } from '../cluster/lock.ts';
import { isThere, removeCluster } from '../cluster/remove.ts';
import { checkName, defaultName } from '../cluster/settings.ts';
import { clusterNames, otherHome } from '../cluster/stored-settings.ts';
import { nameOption } from './options.ts';
import { print, Steps } from './output.ts';

export function downCommand(): Command {
  return new Command('down')
    .description('remove a cluster: its processes, containers, namespaces, mounts, cgroups, files')
    .addOption(nameOption().conflicts('all'))
    .option('--all', 'every cluster')
    .action(async ({ name = defaultName, all = false }: { name?: string; all?: boolean }) => {
      const names = all ? clusterNames() : [checkName(name)];
      for (const one of names) await down(one);
      if (names.length === 0) print('There is no cluster.');
    });
}

async function down(name: string): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('removing a cluster needs root: try sudo');
  if (!isThere(name)) {
    print(`There is no cluster '${name}'; nothing to remove.`);
    return;
  }
  const elsewhere = otherHome(name);
  if (elsewhere !== undefined)
    throw new Error(
      `the cluster '${name}' is of another home; remove it by WEFT_HOME=${elsewhere} ./weft down --name ${name}`,
    );
  const lock = await takeLock(`command/${name}`);
  if (lock === undefined)
    throw new Error(`another './weft up' or './weft down' works on the cluster '${name}': wait for it`);
  const steps = new Steps();
  steps.doing(`Removing the cluster '${name}'`);
  try {
    removeCluster(name, (text, ms) => steps.done(text, ms));
  } finally {
    steps.end();
    lock.release();
  }
  print(`The cluster '${name}' is removed.`);
}
