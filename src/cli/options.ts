// Options that several commands share.
import { Option } from 'commander';
import { adminClient } from '../cluster/admin-client.ts';
import { isRunning } from '../cluster/create.ts';
import { type ClusterLayout, layoutOf } from '../cluster/layout.ts';
import { type ClusterSettings, checkName, defaultName } from '../cluster/settings.ts';
import { readSettings } from '../cluster/stored-settings.ts';
import type { Client } from '../k8s/client.ts';

export function nameOption(): Option {
  return new Option('--name <name>', 'the cluster').default(defaultName);
}

/** Does some work with a client of the running cluster; an Error that says how to bring it back where it does not run. */
export async function withClient<T>(layout: ClusterLayout, work: (client: Client) => Promise<T>): Promise<T> {
  await requireRunning(layout);
  const client = adminClient(layout, 'weft');
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** Throws an Error that says how to bring the cluster back where it does not run. */
export async function requireRunning(layout: ClusterLayout): Promise<void> {
  if (!(await isRunning(layout))) throw notRunning(layout.name);
}

export function notRunning(cluster: string): Error {
  return new Error(`the cluster '${cluster}' does not run; bring it back by './weft up --name ${cluster}'`);
}

/** The cluster of that name; an Error that says how to make it where there is none. */
export function existingCluster(name: string): { settings: ClusterSettings; layout: ClusterLayout } {
  const settings = readSettings(checkName(name));
  if (settings === undefined)
    throw new Error(
      `there is no cluster '${name}'; make it by './weft up${name === defaultName ? '' : ` --name ${name}`}'`,
    );
  return { settings, layout: layoutOf(settings) };
}
