import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../net/address.ts';
import { serviceRoutes } from './service-route.ts';

test("a node's own way to Services goes over the link of its address, in each family that it has", () => {
  const ranges = ['10.96.0.0/16', 'fd96::/112'].map(asCidr);
  const present = [
    { link: 1, address: asIp('127.0.0.1'), prefix: 8 },
    { link: 7, address: asIp('172.18.0.2'), prefix: 16 },
  ];
  const route = { to: '10.96.0.0/16', link: 7, source: '172.18.0.2', protocol: 4 };
  assert.deepEqual(serviceRoutes(ranges, [asIp('172.18.0.2'), asIp('fd18::2')], present), [route]);
  assert.deepEqual(serviceRoutes(ranges, [asIp('172.18.0.3')], present), []);
});
