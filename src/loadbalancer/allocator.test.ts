import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IPAddressPool } from '../k8s/load-balancer.ts';
import type { Service } from '../k8s/types.generated.ts';
import { asIp, type Ip } from '../net/address.ts';
import { type Allocation, Allocator } from './allocator.ts';
import { readPools } from './pools.ts';
import { sharingConflict, sharingTerms } from './request.ts';

type Spec = NonNullable<Service['spec']>;

function service(
  name: string,
  spec: Spec = {},
  annotations: Record<string, string> = {},
  namespace = 'default',
): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations, labels: { app: name } },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80 }], ...spec },
  };
}

let made = 0;
function pool(name: string, addresses: string[], spec: Partial<IPAddressPool['spec']> = {}): IPAddressPool {
  const creationTimestamp = new Date(1e12 + 1000 * made++).toISOString();
  return {
    apiVersion: 'metallb.io/v1beta1',
    kind: 'IPAddressPool',
    metadata: { name, namespace: 'metallb-system', uid: name, creationTimestamp },
    spec: { addresses, ...spec },
  };
}

function allocator(pools: readonly IPAddressPool[], reserved: readonly string[] = []): Allocator {
  const made = new Allocator();
  made.configure(readPools(pools, new Map()).pools, new Set(reserved.map(asIp)));
  return made;
}

const given = (allocation: Allocation): string =>
  'problem' in allocation ? `! ${allocation.problem}` : allocation.addresses.join(' ');

const dual: Spec = { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' };
const asks = (addresses: string): Record<string, string> => ({ 'metallb.io/loadBalancerIPs': addresses });
const shares = (key: string): Record<string, string> => ({ 'metallb.io/allow-shared-ip': key });

test('a Service gets the lowest free address; one that came free is given again', () => {
  const ledger = allocator([pool('a', ['192.0.2.4-192.0.2.6'])], ['192.0.2.5']);
  assert.equal(given(ledger.assign(service('one'), [])), '192.0.2.4');
  assert.equal(given(ledger.assign(service('two'), [])), '192.0.2.6');
  assert.match(given(ledger.assign(service('three'), [])), /the pool a has no free IPv4 address/);
  ledger.release('default/one');
  assert.equal(given(ledger.assign(service('three'), [])), '192.0.2.4');
});

test('a Service keeps its address as long as it is right, also when the allocator starts anew', () => {
  const pools = [pool('a', ['192.0.2.0/28'])];
  const ledger = allocator(pools);
  assert.equal(given(ledger.assign(service('one'), [asIp('192.0.2.9')])), '192.0.2.9');
  assert.equal(given(ledger.assign(service('one'), [])), '192.0.2.9', 'its object does not say it yet');
  assert.equal(given(ledger.assign(service('two'), [asIp('192.0.2.9')])), '192.0.2.0', 'it is taken');
  assert.equal(given(ledger.assign(service('three'), [asIp('198.51.100.1')])), '192.0.2.1', 'it is in no pool');
});

test('why there is no address is said', () => {
  const cases: [IPAddressPool[], Service, RegExp][] = [
    [[], service('s'), /there is no IPAddressPool: create one/],
    [
      [pool('a', ['192.0.2.0/30'], { autoAssign: false })],
      service('s'),
      /no IPAddressPool gives addresses .* of its own/,
    ],
    [
      [pool('a', ['192.0.2.0/30'])],
      service('s', {}, { 'metallb.io/address-pool': 'b' }),
      /there is no IPAddressPool b/,
    ],
    [
      [pool('a', ['192.0.2.0/30'])],
      service('s', { loadBalancerIP: '203.0.113.1' }),
      /203\.0\.113\.1 is in no IPAddressPool/,
    ],
    [
      [pool('a', ['192.0.2.0/30'])],
      service('s', { loadBalancerIP: 'x' }),
      /spec\.loadBalancerIP: 'x' is not an IP address/,
    ],
    [[pool('a', ['192.0.2.0/30'])], service('s', { loadBalancerIP: '192.0.2.1' }, asks('192.0.2.1')), /both given/],
    [[pool('a', ['192.0.2.0/30'])], service('s', {}, asks('fd00::1')), /fd00::1 is IPv6, and the Service is IPv4/],
    [[pool('a', ['192.0.2.0/30'])], service('s', {}, asks('192.0.2.1,192.0.2.2')), /two IPv4 addresses/],
    [[pool('a', ['192.0.2.0/30'])], service('s', dual, asks('192.0.2.1')), /needs an address of IPv4 and of IPv6/],
    [[pool('a', ['192.0.2.0/30'])], service('s', dual), /no free IPv6 address/],
  ];
  for (const [pools, asking, reason] of cases) assert.match(given(allocator(pools).assign(asking, [])), reason);
  const ledger = allocator([pool('a', ['192.0.2.0/30'])]);
  ledger.assign(service('first'), []);
  assert.match(
    given(ledger.assign(service('s', {}, asks('192.0.2.0')), [])),
    /192\.0\.2\.0 is that of the Service default\/first: both need the same annotation/,
  );
});

test('requested addresses are given; with the annotation of before 0.15 too, and one of each family', () => {
  const ledger = allocator([pool('a', ['192.0.2.0/28', 'fd00::/120'])]);
  assert.equal(given(ledger.assign(service('a', { loadBalancerIP: '192.0.2.7' }), [])), '192.0.2.7');
  const former = { 'metallb.universe.tf/loadBalancerIPs': '192.0.2.8' };
  assert.equal(given(ledger.assign(service('b', {}, former), [])), '192.0.2.8');
  assert.equal(given(ledger.assign(service('c', dual, asks('192.0.2.9, fd00::9')), [])), '192.0.2.9 fd00::9');
  assert.equal(given(ledger.assign(service('c', dual, asks('192.0.2.10,fd00::9')), [])), '192.0.2.10 fd00::9');
});

test('PreferDualStack takes both families where it can, and one where it cannot', () => {
  const prefers: Spec = { ...dual, ipFamilyPolicy: 'PreferDualStack' };
  const both = pool('both', ['192.0.2.0/28', 'fd00::/120']);
  assert.equal(given(allocator([both]).assign(service('s', prefers), [])), '192.0.2.0 fd00::');
  assert.equal(given(allocator([pool('four', ['192.0.2.0/28'])]).assign(service('s', prefers), [])), '192.0.2.0');
  assert.equal(given(allocator([pool('six', ['fd00::/120'])]).assign(service('s', prefers), [])), 'fd00::');
  const two = [pool('four', ['192.0.2.0/28']), pool('six', ['fd00::/120'])];
  assert.equal(given(allocator(two).assign(service('s', dual), [])), '192.0.2.0 fd00::', 'of two pools');
  assert.equal(given(allocator([both]).assign(service('s', prefers), [asIp('192.0.2.3')])), '192.0.2.3 fd00::');
});

test('pools for some Services come before the others, by priority; and are for nobody else', () => {
  const pools = [
    pool('all', ['192.0.2.0/28']),
    pool('late', ['192.0.2.16/28'], { serviceAllocation: { namespaces: ['default'], priority: 20 } }),
    pool('early', ['192.0.2.32/32'], { serviceAllocation: { namespaces: ['default'], priority: 10 } }),
    pool('never', ['192.0.2.48/28'], {
      serviceAllocation: { priority: 1, serviceSelectors: [{ matchLabels: { app: 'other' } }] },
    }),
    pool('labelled', ['192.0.2.64/28'], {
      serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: 'x' } }] },
    }),
  ];
  const ledger = allocator(pools);
  assert.equal(given(ledger.assign(service('one'), [])), '192.0.2.32');
  assert.equal(given(ledger.assign(service('two'), [])), '192.0.2.16', 'the first one is used up');
  assert.equal(given(ledger.assign(service('three', {}, {}, 'elsewhere'), [])), '192.0.2.0');
  assert.equal(given(ledger.assign(service('four', {}, {}, 'elsewhere'), [], { team: 'x' })), '192.0.2.64');
  assert.match(
    given(ledger.assign(service('five', {}, { 'metallb.io/address-pool': 'never' }), [])),
    /serviceAllocation of the pool never leaves this Service out/,
  );
  assert.equal(given(ledger.assign(service('six', {}, { 'metallb.io/address-pool': 'all' }), [])), '192.0.2.1');
});

test('addresses that end with .0 or .255 are left out where the pool says so, and are not counted', () => {
  const [made] = readPools([pool('a', ['192.0.1.254-192.0.2.1'], { avoidBuggyIPs: true })], new Map()).pools;
  assert.ok(made);
  const ledger = new Allocator();
  ledger.configure([made], new Set());
  assert.deepEqual(ledger.usage(made).IPv4, { assigned: 0, available: 2 });
  assert.equal(given(ledger.assign(service('one'), [])), '192.0.1.254');
  assert.equal(given(ledger.assign(service('two'), [])), '192.0.2.1');
  assert.deepEqual(ledger.usage(made).IPv4, { assigned: 2, available: 0 });
  assert.match(given(ledger.assign(service('three'), [])), /no free IPv4 address/);
});

test('Services share an address by one key, with different ports, under one policy', () => {
  const at = (port: number, protocol = 'TCP'): Spec => ({ ports: [{ port, protocol }] });
  const local: Spec = { externalTrafficPolicy: 'Local', selector: { app: 'x' } };
  const ledger = allocator([pool('a', ['192.0.2.0/28'])]);
  assert.equal(given(ledger.assign(service('tcp', at(53), shares('dns')), [])), '192.0.2.0');
  assert.equal(given(ledger.assign(service('udp', at(53, 'UDP'), shares('dns')), [])), '192.0.2.0');
  assert.equal(
    given(ledger.assign(service('same', at(53), shares('dns')), [])),
    '192.0.2.1',
    'its port is taken there',
  );
  assert.equal(given(ledger.assign(service('key', at(80), shares('other')), [])), '192.0.2.2');
  assert.equal(given(ledger.assign(service('local', { ...at(81), ...local }, shares('other')), [])), '192.0.2.3');
  assert.equal(given(ledger.assign(service('local2', { ...at(82), ...local }, shares('other')), [])), '192.0.2.3');
  assert.equal(given(ledger.assign(service('alone', at(90)), [])), '192.0.2.4');
});

test('a pool that cannot be followed stays as it was; one that never could gives nothing new', () => {
  const good = new Map();
  const before = pool('a', ['192.0.2.0/28']);
  const after = { ...before, spec: { addresses: ['192.0.2.9-192.0.2.1'] } };
  const never = pool('b', ['198.51.100.0/28', 'nonsense']);
  readPools([before], good);
  const { pools, problems } = readPools([after, never], good);
  assert.deepEqual(problems.get('metallb-system/a'), [
    { field: 'spec.addresses[0]', reason: "'192.0.2.9-192.0.2.1' ends before it begins" },
  ]);
  assert.match(problems.get('metallb-system/b')?.[0]?.field ?? '', /spec\.addresses\[1\]/);
  const ledger = new Allocator();
  ledger.configure(pools, new Set());
  assert.equal(given(ledger.assign(service('one'), [])), '192.0.2.0');
  const wants = { 'metallb.io/address-pool': 'b' };
  assert.equal(given(ledger.assign(service('kept', {}, wants), [asIp('198.51.100.3')])), '198.51.100.3');
  assert.match(given(ledger.assign(service('new', {}, wants), [])), /b: cannot be followed/);
});

test('of two pools that overlap the later one is told of, and stands aside', () => {
  const { pools, problems } = readPools([pool('a', ['192.0.2.0/28']), pool('b', ['192.0.2.8/29'])], new Map());
  assert.match(problems.get('metallb-system/b')?.[0]?.reason ?? '', /overlaps with the pool metallb-system\/a/);
  assert.deepEqual(
    pools.map(({ name, closed }) => [name, closed]),
    [
      ['a', false],
      ['b', true],
    ],
  );
});

/** What may happen to a ledger, for the property below. */
const step = fc.oneof(
  fc.record({
    do: fc.constant('assign' as const),
    name: fc.integer({ min: 0, max: 11 }),
    port: fc.integer({ min: 1, max: 3 }),
    key: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
    asked: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
    isLocal: fc.boolean(),
    isDual: fc.boolean(),
  }),
  fc.record({ do: fc.constant('release' as const), name: fc.integer({ min: 0, max: 11 }) }),
  fc.record({ do: fc.constant('restart' as const) }),
);

test('no two Services ever have one address unless they share it; nobody who has one loses it by a restart', () => {
  const pools = [pool('a', ['192.0.2.0-192.0.2.5', 'fd00::-fd00::3']), pool('b', ['192.0.2.6/31'])];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let ledger = allocator(pools);
      const has = new Map<string, { object: Service; addresses: readonly Ip[] }>();
      for (const one of steps) {
        if (one.do === 'restart') {
          ledger = allocator(pools);
          for (const { object, addresses } of has.values())
            assert.deepEqual(given(ledger.assign(object, addresses)), addresses.join(' '));
          continue;
        }
        const name = `s${one.name}`;
        if (one.do === 'release') {
          ledger.release(`default/${name}`);
          has.delete(name);
          continue;
        }
        const object = service(
          name,
          {
            ports: [{ port: one.port }],
            ...(one.isLocal && { externalTrafficPolicy: 'Local' }),
            ...(one.isDual && { ...dual, ipFamilyPolicy: 'PreferDualStack' }),
          },
          { ...(one.key && shares(one.key)), ...(one.asked !== undefined && asks(`192.0.2.${one.asked}`)) },
        );
        const allocation = ledger.assign(object, has.get(name)?.addresses ?? []);
        if ('problem' in allocation) has.delete(name);
        else has.set(name, { object, addresses: allocation.addresses });
      }
      const all = [...has.values()];
      for (const [index, a] of all.entries())
        for (const b of all.slice(index + 1))
          if (a.addresses.some((address) => b.addresses.includes(address)))
            assert.equal(sharingConflict(sharingTerms(a.object), sharingTerms(b.object)), undefined);
    }),
  );
});
