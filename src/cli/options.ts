// Options that several commands share.
import { Option } from 'commander';
import { type ClusterLayout, layoutOf } from '../cluster/layout.ts';
import { type ClusterSettings, checkName, defaultName } from '../cluster/settings.ts';
import { readSettings } from '../cluster/stored-settings.ts';

export function nameOption(): Option {
  return new Option('--name <name>', 'the cluster').default(defaultName);
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
