import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { elementsOf } from '../../linux/nft.ts';
import { asCidr, asIp } from '../../net/address.ts';
import { backend, modelOf, port } from '../fixtures.ts';
import type { ServicePortModel } from '../service-port.ts';
import { AffinityMarks } from './affinity.ts';
import { contribution, factElements } from './elements.ts';
import { proxyTable } from './table.ts';

const node = { addresses: [asIp('172.18.0.2')], nodePortAddresses: [asIp('172.18.0.2')] };
const elements = (...models: ServicePortModel[]): string[] => {
  const { elements: single, runs = [] } = contribution('IPv4', models, node);
  return [...single, ...runs.flatMap(elementsOf)].map(({ set, key, value }) => `${set} ${key} : ${value ?? ''}`);
};
const chains = (...models: ServicePortModel[]): string[] =>
  contribution('IPv4', models, node).chains.map(({ name }) => name);
const [first, second] = [backend('10.244.1.2'), backend('10.244.2.2')];

test('a Service is elements of maps and a chain for its number of endpoints', () => {
  assert.deepEqual(chains(modelOf([first, second])), ['tcp-n2']);
  assert.deepEqual(elements(modelOf([first, second])), [
    'cluster-ips 10.96.0.1 : ',
    'services 10.96.0.1 . tcp . 80 : goto tcp-n2',
    'source-nat 10.96.0.1 . tcp . 80 : goto masquerade-outside',
    'endpoints-tcp 10.96.0.1 . 80 . 0 : 10.244.1.2 . 8080',
    'endpoints-tcp 10.96.0.1 . 80 . 1 : 10.244.2.2 . 8080',
  ]);
});

test('the number of maps does not depend on the number of Services', () => {
  const names = proxyTable('IPv4', [asCidr('10.244.0.0/16')]).sets.map(({ name }) => name);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.nat(5), fc.boolean())), (services) => {
      const models = services.map(([number, count, isSticky]) =>
        modelOf(
          Array.from({ length: count }, (_, i) => backend(`10.244.0.${i + 1}`)),
          { port: port(number), ...(isSticky && { affinitySeconds: 60 }) },
        ),
      );
      const { elements: all, runs = [], chains } = contribution('IPv4', models, node);
      return [...all, ...runs].every(({ set }) => names.includes(set)) && chains.length <= 11;
    }),
  );
});

test('a local endpoint may reach itself', () => {
  assert.ok(elements(modelOf([backend('10.244.1.2', { local: true })])).includes('hairpin 10.244.1.2 . 10.244.1.2 : '));
});

test('a long or strange owner makes a comment that nftables takes', () => {
  const name = { namespace: 'n'.repeat(63), name: 's'.repeat(63), port: '"}' };
  const comment = contribution('IPv4', [modelOf([], { name })], node).elements[1]?.comment ?? '';
  assert.match(comment, /^ClusterIP of n+\/s+$/);
  assert.ok(comment.length <= 120);
});

test('of overlapping source ranges the outer one is kept', () => {
  const sourceRanges = ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.0/24'].map(asCidr);
  const found = elements(modelOf([], { sourceRanges, loadBalancerIps: [asIp('192.0.2.1')] }));
  assert.deepEqual(
    found.filter((text) => text.startsWith('sources')),
    ['sources 192.0.2.1 . tcp . 80 . 10.0.0.0/8 : ', 'sources 192.0.2.1 . tcp . 80 . 192.0.2.0/24 : '],
  );
});

test('ranges of Services and of the own pods are those of the family, none within another one', () => {
  const facts = {
    serviceCidrs: ['10.96.0.0/16', '10.96.1.0/24', 'fd96::/112'].map(asCidr),
    podCidrs: [asCidr('10.244.1.0/24')],
  };
  assert.deepEqual(
    factElements('IPv4', facts).map(({ set, key }) => `${set} ${key}`),
    ['service-ranges 10.96.0.0/16', 'own-pods 10.244.1.0/24'],
  );
});

test('endpoints of different weights have slots in proportion, and the chain is one for their number', () => {
  const weighted = [backend('10.244.1.2', { weight: 30 }), backend('10.244.2.2', { weight: 10 })];
  assert.deepEqual(chains(modelOf(weighted)), ['tcp-n4']);
  const slots = elements(modelOf(weighted)).filter((text) => text.startsWith('endpoints-tcp'));
  assert.deepEqual(
    slots.map((text) => text.split(' : ')[1]),
    [...Array(3).fill('10.244.1.2 . 8080'), '10.244.2.2 . 8080'],
  );
});

test('the choice by client address is one chain, whatever the number of endpoints', () => {
  for (const count of [1, 2, 7])
    assert.deepEqual(
      chains(
        modelOf(
          Array.from({ length: count }, (_, i) => backend(`10.244.0.${i + 1}`)),
          { choice: 'client-address' },
        ),
      ),
      ['tcp-h1024'],
    );
});

test('session affinity is known by the Service, over its ports and addresses, and an endpoint by one mark', () => {
  const ports = [
    modelOf([first, second], { affinitySeconds: 60, nodePort: port(30_080) }),
    modelOf([backend('10.244.1.2', { port: port(9090) }), second], { affinitySeconds: 60, port: port(81) }),
  ];
  const found = elements(...ports);
  assert.deepEqual(
    found.filter((text) => text.startsWith('affinity-services')),
    [
      'affinity-services 10.96.0.1 . tcp . 80 : a60:1',
      'affinity-services 172.18.0.2 . tcp . 30080 : a60:1',
      'affinity-services 10.96.0.1 . tcp . 81 : a60:1',
    ],
  );
  const slots = found.filter((text) => text.startsWith('slots') && text.includes(': 10.244.1.2'));
  const marks = slots.map((text) => / (\d+) : /.exec(text)?.[1]);
  assert.equal(slots.length, 3);
  assert.equal(new Set(marks).size, 1);
  assert.deepEqual(chains(...ports), ['remember-60', 'remember-60-n2']);
});

test('a client from outside goes on with an endpoint of its own policy only', () => {
  const local = backend('10.244.1.2', { local: true });
  const found = elements(
    modelOf([local, second], {
      affinitySeconds: 60,
      nodePort: port(30_080),
      externalTrafficPolicy: 'Local',
      localEndpoints: [local],
    }),
  );
  const at = (set: string) => found.filter((text) => text.startsWith(`${set} 172.18.0.2`)).length;
  assert.deepEqual([at('remembered'), at('outside-remembered'), at('slots')], [2, 1, 2]);
});

const ips = fc.uniqueArray(fc.integer({ min: 1, max: 250 }), { minLength: 1, maxLength: 40 });

test('the mark of a remembered endpoint does not depend on the others, but for a rare collision', () => {
  fc.assert(
    fc.property(ips, ips, (some, others) => {
      const of = (numbers: number[]) => {
        const backends = numbers.map((n) => backend(`10.244.0.${n}`));
        return new AffinityMarks(backends).of(backends);
      };
      const [before, after] = [of(some), of(others)];
      const isStable = [...before].every(([key, mark]) => !after.has(key) || after.get(key) === mark);
      return isStable && new Set(before.values()).size === some.length;
    }),
  );
});

test('an address that answers one port of a Service at several ports has a mark for each', () => {
  const backends = [backend('10.244.1.2'), backend('10.244.1.2', { port: port(9090) })];
  assert.equal(new Set(new AffinityMarks(backends).of(backends).values()).size, 2);
});
