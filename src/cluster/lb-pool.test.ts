import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideSettings, settingsInConflict } from './settings.ts';
import { SettingsError } from './settings-error.ts';

const poolOf = (lbPool: unknown, more: object = {}): string => decideSettings({ name: 'a', lbPool, ...more }).lbPool;

test('without a choice load balancers get addresses of the nodes’ first subnet, of each family', () => {
  assert.equal(poolOf(undefined), '172.18.250.1-172.18.250.254');
  assert.equal(poolOf(undefined, { underlaySubnets: 2 }), '172.18.122.1-172.18.122.254');
  const dual = { podCidr: '10.244.0.0/16,fd00:10:244::/56' };
  assert.match(
    poolOf(undefined, dual),
    /^172\.18\.250\.1-172\.18\.250\.254,fd[0-9a-f:]+::fa00:1-fd[0-9a-f:]+::fa00:fe$/,
  );
});

test('a range is taken as it is meant, once or once of each family; or none', () => {
  assert.equal(poolOf('none'), 'none');
  assert.equal(poolOf('172.18.255.200-172.18.255.250'), '172.18.255.200-172.18.255.250');
  assert.equal(poolOf('172.18.255.0-172.18.255.255'), '172.18.255.0/24');
  assert.equal(poolOf('192.0.2.0/28'), '192.0.2.0/28', 'outside of the nodes’ network, for BGP');
  const [text, same] = ['172.18.255.0/24', { name: 'a', lbPool: '172.18.255.0/24' }];
  assert.equal(poolOf(poolOf(text)), text, 'what is stored is read again');
  assert.deepEqual(settingsInConflict(same, decideSettings(same)), []);
  assert.deepEqual(settingsInConflict({ lbPool: 'none' }, decideSettings(same)), [
    '--lb-pool none (it has 172.18.255.0/24)',
  ]);
});

test('a pool that would take addresses of others is refused, and they are named', () => {
  const cases: [string, RegExp][] = [
    [
      '172.18.0.1-172.18.0.20',
      /--lb-pool 172\.18\.0\.1-172\.18\.0\.20 overlaps with the addresses of nodes, 172\.18\.0\.0-172/,
    ],
    ['10.244.7.0/24', /overlaps with the addresses of pods, 10\.244\.0\.0\/16/],
    ['10.96.7.0/24', /overlaps with the addresses of Services, 10\.96\.0\.0\/16/],
    ['127.0.0.2-127.0.0.9', /overlaps with the loopback addresses/],
    ['172.18.255.9-172.18.255.1', /ends before it begins/],
    ['172.18.255', /'172\.18\.255' is no range such as/],
    ['fd00::/120', /the cluster has no IPv6 \(see --pod-cidr\)/],
    ['192.0.2.0/28,192.0.2.16/28', /there is another IPv4 range; give one of each family/],
  ];
  for (const [given, reason] of cases)
    assert.throws(
      () => poolOf(given),
      (error: unknown) => error instanceof SettingsError && reason.test(error.message),
      given,
    );
});
