// The plans of a node and of an attachment, and the result of ADD in each version.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asCidr, asIp } from '../net/address.ts';
import type { Lease } from './lease-store.ts';
import { hostLinkName, isHostLinkName, macOf, planAttachment, planNode, resultOf } from './plan.ts';
import { CniError, resultJson, supportedVersions } from './protocol.ts';
import { noSettings } from './wishes.ts';

const four = asCidr('10.244.1.0/24');
const six = asCidr('fd00:1::/64');
const lease: Lease = {
  attachment: { containerId: 'abc', ifname: 'eth0' },
  network: 'weft',
  netns: '/run/netns/x',
  pod: 'default/web',
  addresses: [asIp('10.244.1.7'), asIp('fd00:1::7')],
  settings: noSettings,
  attached: false,
};

test('the bridge has the first address of each range, and a MAC that never changes', () => {
  const plan = planNode([four, six], 1400);
  assert.deepEqual(plan.addresses, [
    { address: '10.244.1.1', prefix: 24 },
    { address: 'fd00:1::1', prefix: 64 },
  ]);
  assert.deepEqual(plan.bridge, { name: 'weft0', mac: '0a:58:0a:f4:01:01', mtu: 1400 });
  assert.ok(plan.sysctls.some(([key, value]) => key === 'net/ipv6/conf/all/forwarding' && value === '1'));
  assert.ok(!planNode([four], 1400).sysctls.some(([key]) => key.startsWith('net/ipv6')));
});

test('a pod has its gateway alone on the link, and everything else behind it', () => {
  const { container } = planAttachment(lease, [four, six], 1400);
  assert.deepEqual(container.routes, [
    { to: '10.244.1.1/32' },
    { to: '0.0.0.0/0', via: '10.244.1.1' },
    { to: 'fd00:1::1/128' },
    { to: '::/0', via: 'fd00:1::1' },
  ]);
  assert.equal(container.mac, '0a:58:0a:f4:01:07');
  assert.deepEqual(container.sysctls[0], ['net/ipv6/conf/eth0/accept_dad', '0']);
});

test('a lease outside of the ranges of the node is refused', () => {
  assert.throws(() => planAttachment(lease, [asCidr('10.9.0.0/24')], 1400), CniError);
});

test('different attachments have different links and addresses different MACs', () => {
  assert.notEqual(
    hostLinkName({ containerId: 'a', ifname: 'eth0' }),
    hostLinkName({ containerId: 'a', ifname: 'eth1' }),
  );
  fc.assert(
    fc.property(fc.string(), fc.string(), (containerId, ifname) => {
      assert.ok(isHostLinkName(hostLinkName({ containerId, ifname })));
    }),
  );
  assert.equal(macOf(asIp('10.0.0.255')), '0a:58:0a:00:00:ff');
});

test('the result keeps what came before in the chain, and its indices stay right', () => {
  const plan = planAttachment(lease, [four, six], 1400);
  const previous = {
    interfaces: [{ name: 'other0' }],
    ips: [{ address: '192.0.2.1/32', interface: 0 }],
    routes: [{ dst: '192.0.2.0/24' }],
    dns: { nameservers: ['192.0.2.53'] },
  };
  const result = resultOf(plan, planNode([four, six], 1400), previous);
  assert.equal(result.interfaces[0]?.name, 'other0');
  assert.deepEqual(result.ips[0], previous.ips[0]);
  for (const ip of result.ips.slice(1)) assert.equal(result.interfaces[ip.interface ?? -1]?.sandbox, '/run/netns/x');
  assert.deepEqual(
    result.routes.map(({ dst }) => dst),
    ['192.0.2.0/24', '0.0.0.0/0', '::/0'],
  );
  assert.deepEqual(result.dns, previous.dns);
});

test('each version of the specification gets its own form', () => {
  const result = resultOf(planAttachment(lease, [four, six], 1400), planNode([four, six], 1400));
  for (const version of supportedVersions) {
    const json = JSON.stringify(resultJson(result, version));
    assert.equal(json.includes('"version":"4"'), version.startsWith('0.'), version);
    assert.equal(json.includes('"mtu"'), version === '1.1.0', version);
    assert.ok(json.includes(`"cniVersion":"${version}"`));
  }
});
