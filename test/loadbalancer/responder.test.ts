// Answers for addresses that no interface has: real ARP and neighbour discovery between namespaces.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, Lan } from './lan.ts';

const [vip4, vip6] = ['172.18.255.1', 'fd18::ff01'];

test('an address that no interface has is answered for, in both families; others are not; none after the release', async () => {
  await using lan = new Lan();
  lan.add('node', 2);
  lan.add('client', 9);
  const responder = lan.start('node', 'responder-process.ts', '172.18.0.2,fd18::2');
  await responder.ask(`${vip4} ${vip6}`);
  assert.equal(await lan.seenFrom('client', vip4), lan.mac('node'));
  assert.equal(await lan.seenFrom('client', vip6), lan.mac('node'));
  assert.equal(await lan.seenFrom('client', '172.18.255.2'), undefined);
  assert.doesNotMatch(lan.run('node', 'ip', 'addr'), /172\.18\.255\.1|fd18::ff01/, 'it is not bound');
  assert.match(lan.run('node', 'ip', '-6', 'maddr', 'show', 'dev', 'eth0'), /ff02::1:ff00:ff01/, 'its group is joined');
  await responder.ask('');
  assert.equal(await lan.seenFrom('client', vip4), undefined);
  assert.equal(await lan.seenFrom('client', vip6), undefined);
  assert.doesNotMatch(lan.run('node', 'ip', '-6', 'maddr', 'show', 'dev', 'eth0'), /ff02::1:ff00:ff01/);
});

test('who takes an address over says so unasked: hosts that remember the former owner follow within 1.5 s', async () => {
  await using lan = new Lan();
  lan.add('one', 2);
  lan.add('two', 3);
  lan.add('client', 9);
  const one = lan.start('one', 'responder-process.ts', '172.18.0.2,fd18::2');
  const two = lan.start('two', 'responder-process.ts', '172.18.0.3,fd18::3');
  await two.ask('');
  await one.ask(`${vip4} ${vip6}`);
  for (const address of [vip4, vip6]) assert.equal(await lan.seenFrom('client', address), lan.mac('one'));
  await one.ask('');
  await two.ask(`${vip4} ${vip6}`);
  for (const address of [vip4, vip6])
    await eventually('the new owner is known', 1500, () => lan.remembered('client', address) === lan.mac('two'));
});

test('it answers on the links that are named, and again when a link has gone and come back', async () => {
  await using lan = new Lan();
  lan.add('node', 2);
  lan.add('client', 9);
  const responder = lan.start('node', 'responder-process.ts', '172.18.0.77');
  await responder.ask(vip4);
  assert.equal(await lan.seenFrom('client', vip4), undefined, 'no link has the address of the node');
  await responder.ask(`${vip4}@eth0`);
  assert.equal(await lan.seenFrom('client', vip4), lan.mac('node'));
  lan.run('node', 'ip', 'link', 'set', 'eth0', 'down');
  lan.run('node', 'ip', 'link', 'set', 'eth0', 'address', '02:57:00:00:00:77');
  lan.run('node', 'ip', 'link', 'set', 'eth0', 'up');
  await eventually('it answers again', 3000, async () => (await lan.seenFrom('client', vip4)) === '02:57:00:00:00:77');
});
