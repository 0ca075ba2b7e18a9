// Reads which cluster a process belongs to from its command line: PROGRAM HOME NAME [ROLE].
import { type ClusterLayout, layoutOf, type NodeLayout } from '../cluster/layout.ts';
import type { ClusterSettings } from '../cluster/settings.ts';
import { readSettings } from '../cluster/stored-settings.ts';

export interface ClusterArguments {
  readonly settings: ClusterSettings;
  readonly layout: ClusterLayout;
  readonly node: NodeLayout;
}

/** The control plane's node where no role is given. */
export function readClusterArguments(): ClusterArguments {
  const [home, name, role = 'control-plane'] = process.argv.slice(2);
  if (home === undefined || name === undefined) throw new Error('usage: PROGRAM HOME NAME [ROLE]');
  process.env.WEFT_HOME = home;
  const settings = readSettings(name);
  if (settings === undefined) throw new Error(`there is no cluster '${name}' in ${home}`);
  const layout = layoutOf(settings);
  const node = layout.nodes.find((one) => one.role === role);
  if (node === undefined) throw new Error(`the cluster '${name}' has no node '${role}'`);
  return { settings, layout, node };
}
