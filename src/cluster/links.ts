// The conditions of the links between nodes, kept in the run folder as long as the links themselves, and written.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { netnsPath } from '../linux/netns.ts';
import { commitIn } from '../linux/nft-namespace.ts';
import { canDelay, setClasses } from '../linux/shaping.ts';
import { writeWhole } from './identities.ts';
import type { ClusterLayout } from './layout.ts';
import { type LinkCondition, linksTable, planConditions } from './link-conditions.ts';

const fileOf = (layout: ClusterLayout): string => join(layout.run, 'links.json');

/** What is set now. The file is written by this program alone: what it says is trusted. */
export function readConditions(layout: ClusterLayout): LinkCondition[] {
  return existsSync(fileOf(layout)) ? JSON.parse(readFileSync(fileOf(layout), 'utf8')) : [];
}

/** Writes the conditions into the underlay, and keeps them. Throws an Error where the kernel lacks what they need. */
export function applyConditions(layout: ClusterLayout, conditions: readonly LinkCondition[]): void {
  const netns = netnsPath(layout.underlayNetns);
  if (conditions.some(({ delayMs }) => delayMs !== undefined) && !canDelay(netns))
    throw new Error(
      "this machine's kernel cannot hold packets back (it has no sch_netem); it can do --rate, --loss and cut",
    );
  const { chains, classes } = planConditions(layout, conditions);
  const shaped = new Set(readConditions(layout).length > 0 ? classes.keys() : []);
  commitIn(netns, linksTable, { replace: { sets: [] }, chains, removed: [], added: [] });
  for (const [port, list] of classes) if (list.length > 0 || shaped.has(port)) setClasses(netns, port, list);
  writeWhole(fileOf(layout), JSON.stringify(conditions));
}

/** For links that were made anew: what was set is set again. */
export function reapplyConditions(layout: ClusterLayout): void {
  const conditions = readConditions(layout);
  const names = new Set([...layout.nodes.map(({ name }) => name), 'router']);
  const left = conditions.filter(({ between }) => between.every((name) => names.has(name)));
  if (conditions.length > 0) applyConditions(layout, left);
}
