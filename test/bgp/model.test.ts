// The bgp fabric holds the rules of the Kubernetes network model too, and conversations go on when it is chosen and left.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runIn } from '../cni/lab.ts';
import { ModelLab } from '../fabric/model.ts';
import { Talker } from '../fabric/probe.ts';
import { birdIsMissing } from './lab.ts';

const options = { skip: birdIsMissing };
const one = new ModelLab(1, 'bgp');
const two = new ModelLab(2, 'bgp');

before(async () => {
  if (birdIsMissing) return;
  await one.start();
  await two.start();
});
after(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

test('bgp: all pairs reach each other, untranslated', options, () => one.holdsModel(1500));

test('over two subnets: bgp', options, () => two.holdsModel(1500));

test('conversations between pods go on when another fabric is chosen, and bgp again', options, async () => {
  const [a, b] = one.pods;
  assert.ok(a && b);
  const talkers = await Promise.all(b.addresses.map((host) => Talker.start(a.netns, host)));
  for (const kind of ['host-gw', 'bgp', 'vxlan', 'bgp', 'router', 'bgp'] as const) await one.change(kind);
  const results = await Promise.all(talkers.map((talker) => talker.stop()));
  for (const { count, longestMs } of results) {
    assert.ok(count > 5, `${count} answers`);
    assert.ok(longestMs < 1_500, `an answer took ${longestMs} ms`);
  }
});

test('after a change nothing of BGP is left', options, async () => {
  await one.change('host-gw');
  for (const { netns } of one.lab.nodes)
    for (const family of ['-4', '-6']) assert.equal(runIn(netns, 'ip', family, 'route', 'show', 'proto', 'bird'), '');
});
