import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../../log/log.ts';
import { readCorefile } from '../corefile/corefile.ts';
import { DnsMetrics } from '../metrics/metrics.ts';
import type { ZoneView } from '../resolve.ts';
import { ServiceTable } from '../service-table.ts';
import { Plan } from './plan.ts';

const view: ZoneView = {
  zone: 'cluster.local',
  ttl: 30,
  serial: 1,
  table: new ServiceTable(),
  namespaceExists: () => true,
};

const kubernetes =
  'kubernetes cluster.local in-addr.arpa ip6.arpa {\n fallthrough in-addr.arpa ip6.arpa\n }\n loadbalance';
const both = ['in-addr.arpa', 'ip6.arpa'];

for (const [what, text, zones] of [
  ['the plugin alone', `.:53 {\n ${kubernetes}\n}`, both],
  ['zones of its own block', `cluster.local in-addr.arpa:53 {\n ${kubernetes}\n}`, []],
  ['hosts, which name addresses', `.:53 {\n hosts {\n 10.96.0.1 x.y\n fallthrough\n }\n ${kubernetes}\n}`, []],
  ['a rewrite, which looks at each', `.:53 {\n rewrite name a.b c.d\n ${kubernetes}\n}`, []],
  ['another block for some', `.:53 {\n ${kubernetes}\n}\n10.in-addr.arpa:53 {\n whoami\n}`, ['ip6.arpa']],
  ['another block for the zone', `.:53 {\n ${kubernetes}\n}\nip6.arpa:53 {\n whoami\n}`, ['in-addr.arpa']],
  ['another block on another port', `.:53 {\n ${kubernetes}\n}\nip6.arpa:5353 {\n whoami\n}`, both],
] as const)
  test(`names of addresses are answered from memory only where nothing else could: ${what}`, async () => {
    const metrics = new DnsMetrics();
    const plan = new Plan({
      contentFor: () => ({ view, synced: Promise.resolve(), isSynced: () => true, stop: () => {} }),
      resolvConf: () => [],
      cacheFamilies: metrics.cache,
      forwardMetrics: metrics.forward,
      clusterMark: () => undefined,
      log: createLog('dns'),
    });
    const { config } = await readCorefile(text);
    assert.ok(config !== undefined);
    await plan.apply(config, { get: () => undefined });
    assert.deepEqual(plan.directReverse, zones);
    plan.close();
  });
