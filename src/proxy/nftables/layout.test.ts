import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { elementsOf } from '../../linux/nft.ts';
import { asCidr, asIp, type Ip, type Port, parsePort } from '../../net/address.ts';
import type { Backend } from '../service-port.ts';
import type { Frontend } from './frontend.ts';
import { affinityMarks, contribution, proxyTable } from './layout.ts';

const port = (number: number): Port => parsePort(number) ?? assert.fail('no port');
const backend = (ip: string, local = false): Backend => ({
  ip: asIp(ip),
  port: port(8080),
  local,
  ready: true,
  terminating: false,
  weight: 1,
});
const frontend = (part: Partial<Frontend>): Frontend => ({
  kind: 'ClusterIP',
  address: asIp('10.96.0.1'),
  protocol: 'TCP',
  port: port(80),
  owner: 'default/web:http',
  choice: { to: 'reject' },
  sourceNat: 'outside',
  ...part,
});
const backends = (...ips: string[]): Frontend['choice'] => ({ to: 'backends', backends: ips.map((ip) => backend(ip)) });
const elements = (...frontends: Frontend[]): string[] => {
  const contributed = contribution('IPv4', frontends, []);
  const all = [...contributed.elements, ...(contributed.runs ?? []).flatMap(elementsOf)];
  return all.map(({ set, key, value }) => `${set} ${key} : ${value ?? ''}`);
};

test('a Service is elements of maps and a chain for its number of endpoints', () => {
  const { chains } = contribution('IPv4', [frontend({ choice: backends('10.244.1.2', '10.244.2.2') })], []);
  assert.deepEqual(
    chains.map(({ name }) => name),
    ['tcp-n2'],
  );
  assert.deepEqual(elements(frontend({ choice: backends('10.244.1.2', '10.244.2.2') })), [
    'services 10.96.0.1 . tcp . 80 : goto tcp-n2',
    'source-nat 10.96.0.1 . tcp . 80 : goto masquerade-outside',
    'endpoints-tcp 10.96.0.1 . 80 . 0 : 10.244.1.2 . 8080',
    'endpoints-tcp 10.96.0.1 . 80 . 1 : 10.244.2.2 . 8080',
  ]);
});

test('the number of maps does not depend on the number of Services', () => {
  const names = proxyTable('IPv4', [asCidr('10.244.0.0/16')]).sets.map(({ name }) => name);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.nat(5))), (services) => {
      const frontends = services.map(([number, count]) =>
        frontend({
          port: port(number),
          choice: backends(...Array.from({ length: count }, (_, i) => `10.244.0.${i + 1}`)),
        }),
      );
      const { elements: all, chains } = contribution('IPv4', frontends, []);
      return all.every(({ set }) => names.includes(set)) && chains.length <= 6;
    }),
  );
});

test('a local endpoint may reach itself', () => {
  const choice = { to: 'backends', backends: [backend('10.244.1.2', true)] } as const;
  assert.ok(elements(frontend({ choice })).includes('hairpin 10.244.1.2 . 10.244.1.2 : '));
});

test('a long or strange owner makes a comment that nftables takes', () => {
  const long = `${'n'.repeat(63)}/${'s'.repeat(63)}:"}`;
  const comment = contribution('IPv4', [frontend({ owner: long })], []).elements[0]?.comment ?? '';
  assert.match(comment, /^ClusterIP of n+\/s+$/);
  assert.ok(comment.length <= 120);
});

test('of overlapping source ranges the outer one is kept', () => {
  const sources = ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.0/24'].map(asCidr);
  const found = elements(frontend({ sources })).filter((text) => text.startsWith('sources'));
  assert.deepEqual(found, [
    'sources 10.96.0.1 . tcp . 80 . 10.0.0.0/8 : ',
    'sources 10.96.0.1 . tcp . 80 . 192.0.2.0/24 : ',
  ]);
});

test('the mark of a remembered endpoint does not depend on the others, but for a rare collision', () => {
  const ips = fc.uniqueArray(fc.integer({ min: 1, max: 250 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(ips, ips, (some, others) => {
      const of = (numbers: number[]) => numbers.map((n) => ({ ip: asIp(`10.244.0.${n}`), port: port(8080) }));
      const before = new Map(of(some).map((one, index) => [one.ip, affinityMarks(of(some))[index]]));
      const after = new Map(of(others).map((one, index) => [one.ip, affinityMarks(of(others))[index]]));
      const marks = new Set(before.values());
      const stable = [...before].every(
        ([ip, mark]: [Ip, number | undefined]) => !after.has(ip) || after.get(ip) === mark,
      );
      return stable && marks.size === some.length;
    }),
  );
});
