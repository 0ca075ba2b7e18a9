// Links that hold packets back; runs in a machine whose kernel has sch_netem (delay.test.ts).
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { layoutOf } from '../../src/cluster/layout.ts';
import type { LinkCondition } from '../../src/cluster/link-conditions.ts';
import { applyConditions } from '../../src/cluster/links.ts';
import { ensureNetwork } from '../../src/cluster/network.ts';
import { netnsOf } from '../../src/cluster/remove.ts';
import { decideSettings } from '../../src/cluster/settings.ts';
import { deleteNamedNetns } from '../../src/linux/netns.ts';
import { runIn } from '../cni/lab.ts';

const settings = decideSettings({ name: 'wt-delay', nodes: 3 });
const layout = layoutOf(settings);
interface Place {
  readonly name: string;
  readonly address: string;
}

const [a, b, c] = layout.nodes.map(({ name, addresses }): Place => ({ name, address: addresses[0] }));
assert.ok(a && b && c);

before(() => {
  mkdirSync(layout.run, { recursive: true });
  ensureNetwork(settings, layout);
});
after(() => {
  for (const netns of netnsOf(settings.name)) deleteNamedNetns(netns);
});

const set = (...conditions: LinkCondition[]): void => applyConditions(layout, conditions);

/** The shortest of three round trips, in ms: what a busy machine adds does not count. */
function roundTrip(from: Place, to: Place): number {
  const output = runIn(from.name, 'busybox', 'ping', '-c', '3', '-i', '0.2', '-W', '3', to.address);
  return Math.min(...[...output.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) => Number(ms)));
}

test('a delay holds back each packet in both directions, between those two alone, until it is healed', () => {
  roundTrip(b, c);
  set({ between: [b.name, c.name], delayMs: 150 });
  const slow = roundTrip(b, c);
  assert.ok(slow >= 300 && slow < 450, `${slow} ms there and back`);
  assert.ok(roundTrip(b, a) < 150);
  set();
  assert.ok(roundTrip(b, c) < 150);
});

test('a delay and a rate go together', () => {
  set({ between: [b.name, c.name], delayMs: 100, rate: 1e6 });
  const output = runIn(b.name, 'busybox', 'ping', '-c', '1', '-s', '30000', '-W', '3', c.address);
  const ms = Number(/time=([\d.]+) ms/.exec(output)?.[1]);
  // 30,000 bytes take 240 ms at a megabit a second, each way; a little of it may pass at once.
  assert.ok(ms >= 200 + 2 * 200, `${ms} ms`);
});

test('a cut is one also where br_netfilter is loaded, as on most nodes', () => {
  set({ between: [b.name, c.name], cut: true });
  assert.throws(() => runIn(b.name, 'busybox', 'ping', '-c', '1', '-W', '1', c.address));
  set();
  roundTrip(b, c);
});
