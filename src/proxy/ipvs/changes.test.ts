// From what is in the kernel to what shall be: nothing more than needed, and in an order in which no packet is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RealServer, VirtualServer } from '../../linux/ipvs.ts';
import { asIp, type Port, parsePort } from '../../net/address.ts';
import { type Change, changed, changes, itemKey } from './changes.ts';
import type { Item } from './items.ts';
import { WantedItems } from './wanted.ts';

const port = (number: number): Port => parsePort(number) ?? assert.fail();
const real = (ip: string, weight = 1): RealServer => ({ ip: asIp(ip), port: port(8080), weight });
const virtual = (part: Partial<VirtualServer> = {}): VirtualServer => ({
  address: asIp('10.96.0.1'),
  protocol: 'tcp',
  port: port(80),
  scheduler: 'rr',
  ...part,
});
const server = (reals: readonly RealServer[], part: Partial<VirtualServer> = {}): Item => ({
  kind: 'server',
  server: virtual(part),
  reals,
});
const address: Item = { kind: 'address', address: asIp('10.96.0.1') };
const element: Item = { kind: 'element', set: 'KUBE-IPVS-IPS', family: 'IPv4', element: { ip: asIp('10.96.0.1') } };
const byKey = (items: readonly Item[]): Map<string, Item> => new Map(items.map((item) => [itemKey(item), item]));

function shown(wanted: readonly Item[], there: readonly Item[]): string[] {
  const [to, from] = [byKey(wanted), byKey(there)];
  return changes(new Set([...to.keys(), ...from.keys()]), to, from).map((change) => {
    if (change.do === 'set real' || change.do === 'delete real')
      return `${change.do} ${change.real.ip}*${change.real.weight}`;
    return 'item' in change ? `${change.do} ${change.item.kind}` : change.do;
  });
}

test('a Service comes with its elements first and its address last, and goes the other way round', () => {
  const all = [address, server([real('10.244.1.2')]), element];
  assert.deepEqual(shown(all, []), ['add element', 'add server', 'set real 10.244.1.2*1', 'add address']);
  assert.deepEqual(shown([], all), ['delete address', 'delete server', 'delete element']);
  assert.deepEqual(shown(all, all), []);
});

test('an endpoint that goes keeps its connections, but over UDP', () => {
  const [a, b] = [real('10.244.1.2'), real('10.244.1.3')];
  assert.deepEqual(shown([server([b])], [server([a])]), ['set real 10.244.1.3*1', 'set real 10.244.1.2*0']);
  assert.deepEqual(shown([server([b])], [server([b, { ...a, weight: 0 }])]), []);
  assert.deepEqual(shown([server([a, b])], [server([b, { ...a, weight: 0 }])]), ['set real 10.244.1.2*1']);
  const udp = { protocol: 'udp' } as const;
  assert.deepEqual(shown([server([b], udp)], [server([a, b], udp)]), ['delete real 10.244.1.2*1']);
});

test('another scheduler or affinity changes the virtual server in place', () => {
  const reals = [real('10.244.1.2')];
  assert.deepEqual(shown([server(reals, { scheduler: 'lc' })], [server(reals)]), ['change server']);
  assert.deepEqual(shown([server(reals, { persistentSeconds: 60 })], [server(reals)]), ['change server']);
});

const items = fc.uniqueArray(
  fc.oneof(
    fc.integer({ min: 1, max: 9 }).map((n): Item => ({ kind: 'address', address: asIp(`10.96.0.${n}`) })),
    fc
      .integer({ min: 1, max: 9 })
      .map((n): Item => ({ ...element, element: { ip: asIp(`10.96.0.${n}`) }, kind: 'element' }) as Item),
    fc
      .tuple(
        fc.integer({ min: 1, max: 4 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 9 })),
        fc.constantFrom('tcp', 'udp'),
        fc.constantFrom('rr', 'lc'),
      )
      .map(([n, reals, protocol, scheduler]) =>
        server(
          reals.map((m) => real(`10.244.0.${m}`)),
          { address: asIp(`10.96.0.${n}`), protocol, scheduler },
        ),
      ),
  ),
  { selector: itemKey },
);

test('after the changes nothing is left to change, whatever was there', () => {
  fc.assert(
    fc.property(items, items, (wanted, there) => {
      const [to, now] = [byKey(wanted), byKey(there)];
      const keys = new Set([...to.keys(), ...now.keys()]);
      const made: readonly Change[] = changes(keys, to, now);
      for (const change of made) changed(now, change);
      assert.deepEqual(changes(keys, to, now), []);
      assert.deepEqual([...now.keys()].sort(), [...to.keys()].sort());
    }),
  );
});

test('an item that several want stays until the last one gives it up; the first by name says what it is', () => {
  const wanted = new WantedItems();
  wanted.set('default/b', [server([real('10.244.1.2')])]);
  wanted.set('default/a', [server([real('10.244.1.3')])]);
  const ips = (): string[] =>
    [...wanted.items.values()].flatMap((item) => (item.kind === 'server' ? item.reals.map(({ ip }) => ip) : []));
  assert.deepEqual(ips(), ['10.244.1.3']);
  wanted.takeTouched();
  wanted.set('default/a', []);
  assert.deepEqual(ips(), ['10.244.1.2']);
  assert.deepEqual([...wanted.takeTouched()], ['server 10.96.0.1 tcp 80']);
  wanted.set('default/b', []);
  assert.equal(wanted.items.size, 0);
});
