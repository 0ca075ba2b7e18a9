import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route } from '../linux/routes.ts';
import { asCidr, asIp } from '../net/address.ts';
import { routeChanges } from './service-route.ts';

const ranges = ['10.96.0.0/16', 'fd96::/112'].map(asCidr);
const present = [
  { link: 1, address: asIp('127.0.0.1'), prefix: 8 },
  { link: 7, address: asIp('172.18.0.2'), prefix: 16 },
];
const own = [asIp('172.18.0.2'), asIp('fd18::2')];
const route = (to: string, made = 87): Route => ({
  to: asCidr(to),
  link: 7,
  source: asIp('172.18.0.2'),
  protocol: made,
});

test("a node's own way to Services goes over the link of its address, in each family that it has", () => {
  const changes = routeChanges({ ranges, addresses: [] }, own, present, []);
  assert.deepEqual(changes, { set: [route('10.96.0.0/16')], remove: [] });
  assert.deepEqual(routeChanges({ ranges, addresses: [] }, [asIp('172.18.0.3')], present, []), { set: [], remove: [] });
  assert.deepEqual(routeChanges({ ranges, addresses: [] }, own, present, [route('10.96.0.0/16')]).set, []);
});

test('other addresses of Services get a route where none leads there', () => {
  const addresses = ['192.0.2.1', '172.18.9.9', '10.96.0.7', '198.51.100.1', '172.18.0.2'].map(asIp);
  const routes = [route('172.18.0.0/16', 2), route('198.51.100.0/24', 4)];
  assert.deepEqual(
    routeChanges({ ranges, addresses }, own, present, routes).set.map(({ to }) => to),
    ['10.96.0.0/16', '192.0.2.1/32'],
  );
  assert.deepEqual(routeChanges({ ranges: [], addresses }, own, present, [...routes, route('0.0.0.0/0', 3)]).set, []);
});

test('a route of the proxy that nothing needs any more goes, and no other one', () => {
  const routes = [route('192.0.2.1/32'), route('192.0.2.2/32'), route('192.0.2.3/32', 4)];
  const changes = routeChanges({ ranges: [], addresses: [asIp('192.0.2.2')] }, own, present, routes);
  assert.deepEqual(changes, { set: [], remove: [route('192.0.2.1/32')] });
});
