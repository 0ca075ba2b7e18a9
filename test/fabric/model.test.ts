// Every fabric holds the rules of the Kubernetes network model, and the change from one to another drops no connection.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runIn } from '../cni/lab.ts';
import { ModelLab, mtuOf, routesOf, until } from './model.ts';
import { Talker } from './probe.ts';

const one = new ModelLab(1, 'host-gw');
const two = new ModelLab(2, 'vxlan');
const talkers: Talker[] = [];

before(async () => {
  await one.start();
  await two.start();
});
after(async () => {
  for (const talker of talkers) talker.kill();
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

test('host-gw: all pairs reach each other, untranslated', () => one.holdsModel(1500));

test('conversations between pods go on through every change of the fabric', async () => {
  const [a, b, c] = one.pods;
  assert.ok(a && b && c);
  for (const [from, to] of [
    [a, b],
    [b, c],
    [c, a],
  ] as const)
    for (const host of to.addresses) talkers.push(await Talker.start(from.netns, host));
  for (const kind of ['vxlan', 'router', 'vxlan', 'host-gw', 'router', 'host-gw'] as const) await one.change(kind);
  const results = await Promise.all(talkers.splice(0).map((talker) => talker.stop()));
  for (const { count, longestMs } of results) {
    assert.ok(count > 5, `${count} answers`);
    assert.ok(longestMs < 1_500, `an answer took ${longestMs} ms`);
  }
});

test('router: nodes know the router alone, and all pairs reach each other, untranslated', async () => {
  await one.change('router');
  for (const { netns } of one.lab.nodes)
    assert.match(routesOf(netns), /^default via 172\.18\.0\.1 \S+ \S+ metric 1024\s*$/);
  assert.equal(routesOf(one.router).trim().split('\n').length, 4);
  await one.holdsModel(1500);
});

test('vxlan: pods that were there before find the smaller way, new ones have its MTU; untranslated', async () => {
  await one.change('vxlan');
  const [node] = one.lab.nodes;
  assert.ok(node);
  await until('the bridge has the MTU of the tunnels', () => mtuOf(node.netns, 'weft0') === 1450);
  await until('the table of the router is gone', () => routesOf(one.router) === '');
  const pod = await one.addPod(node);
  assert.equal(pod.mtu, 1450);
  await one.holdsModel(1450);
});

test('after the change back nothing of the former fabric is left', async () => {
  await one.change('host-gw');
  for (const { netns } of one.lab.nodes) {
    await until('the device is gone', () => !runIn(netns, 'ip', 'link').includes('weft-vxlan'));
    assert.equal(routesOf(netns).trim().split('\n').length, 3);
  }
});

test('over two subnets: vxlan through the router, which knows no pod', async () => {
  assert.equal(routesOf(two.router), '');
  await two.holdsModel(1450);
});

test('over two subnets: crossSubnet takes the direct way where there is one', async () => {
  await two.change('vxlan', { 'vxlan.crossSubnet': 'true' });
  const [node] = two.lab.nodes;
  assert.ok(node);
  assert.equal((routesOf(node.netns).match(/ via 172\./g) ?? []).length, 1);
  await two.holdsModel(1450);
});

test('over two subnets: router', async () => {
  await two.change('router');
  await two.holdsModel(1500);
});
