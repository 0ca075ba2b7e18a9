// Tests of what is set on links between nodes: which pairs are meant, and the rules and classes that follow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderRule } from '../linux/nft.ts';
import { layoutOf } from './layout.ts';
import { changeConditions, pairsOf, parseDelay, parseLoss, parseRate, planConditions } from './link-conditions.ts';
import { decideSettings } from './settings.ts';
import { SettingsError } from './settings-error.ts';

const layout = layoutOf(decideSettings({ name: 'x', nodes: 3 }));
const joined = layoutOf(decideSettings({ name: 'x', nodes: 3, underlaySubnets: 2 }));
const names = (pairs: ReturnType<typeof pairsOf>): string[] => pairs.map(([a, b]) => `${a.name} ${b.name}`);

test('two names are one link; one name is every link of its subnet', () => {
  assert.deepEqual(names(pairsOf(layout, 'worker', 'x-worker2')), ['x-worker x-worker2']);
  assert.deepEqual(names(pairsOf(layout, 'worker')), [
    'x-worker x-control-plane',
    'x-worker x-worker2',
    'x-worker router',
  ]);
});

test('nodes on different subnets are joined by the router alone, and unknown names are refused', () => {
  assert.throws(() => pairsOf(joined, 'control-plane', 'worker'), /different subnets.*'router'/);
  assert.deepEqual(names(pairsOf(joined, 'worker', 'router')), ['x-worker router']);
  assert.throws(() => pairsOf(layout, 'y'), /there is no 'y'/);
});

test('conditions add up, and a link that is whole again has none', () => {
  const pairs = pairsOf(layout, 'worker', 'worker2');
  const slow = changeConditions([], pairs, (before) => ({ ...before, rate: 1e6 }));
  const both = changeConditions(slow, pairs, (before) => ({ ...before, lossPercent: 5 }));
  assert.deepEqual(both, [{ between: ['x-worker', 'x-worker2'], rate: 1e6, lossPercent: 5 }]);
  assert.deepEqual(
    changeConditions(both, pairs, () => ({})),
    [],
  );
});

test('a cut is a rule in each direction; a rate is a class at each end, and the rule that leads to it', () => {
  const plan = planConditions(layout, [
    { between: ['x-worker', 'x-worker2'], cut: true },
    { between: ['x-control-plane', 'x-worker'], rate: 1e6, lossPercent: 10 },
  ]);
  assert.deepEqual(
    plan.chains[0]?.rules.map(renderRule).map((text) => text.replace(/ comment.*/, '')),
    [
      'meta iifname == "worker" meta oifname == "worker2" drop',
      'meta iifname == "worker2" meta oifname == "worker" drop',
      'meta iifname == "control-plane" meta oifname == "worker" numgen random mod 100 == 0-9 drop',
      'meta iifname == "control-plane" meta oifname == "worker" meta priority set 1:2',
      'meta iifname == "worker" meta oifname == "control-plane" numgen random mod 100 == 0-9 drop',
      'meta iifname == "worker" meta oifname == "control-plane" meta priority set 1:2',
    ],
  );
  assert.deepEqual(plan.classes.get('worker'), [{ minor: 2, rate: 1e6 }]);
  assert.deepEqual(plan.classes.get('worker2'), []);
});

test('conditions of nodes that are gone make no rules', () => {
  assert.equal(planConditions(layout, [{ between: ['x-worker9', 'x-worker'], cut: true }]).chains[0]?.rules.length, 0);
});

test('rates, times and losses are read with their units, and refused outside of their range', () => {
  assert.deepEqual([parseRate('10mbit'), parseRate('8Kbit'), parseDelay('2s'), parseLoss('20%')], [1e7, 8e3, 2000, 20]);
  for (const bad of ['10', '1mb', '-1mbit', '7kbit']) assert.throws(() => parseRate(bad), SettingsError, bad);
  for (const bad of ['5', '0ms', '61s']) assert.throws(() => parseDelay(bad), SettingsError, bad);
  for (const bad of ['0', '101', 'x']) assert.throws(() => parseLoss(bad), SettingsError, bad);
});
