// What is told of a Service in the kernel, beside what the proxy has written there.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { slotsTogether } from '../../src/cli/service-report.ts';
import { serviceInKernel } from '../../src/explain/service-kernel.ts';
import { viewService } from '../../src/explain/service-view.ts';
import { netnsPath } from '../../src/linux/netns.ts';
import { asCidr, asIp } from '../../src/net/address.ts';
import type { ProxyNode } from '../../src/proxy/service-port.ts';
import { Network } from '../proxy/namespaces.ts';
import { ProxyProcess, service, slice } from '../proxy/objects.ts';

const addresses = ['172.18.0.2', 'fd18::2'].map(asIp);
const node: ProxyNode = { name: 'node', addresses, nodePortAddresses: addresses, podCidrs: [] };
const web = service('web', {
  clusterIP: '10.96.0.1',
  clusterIPs: ['10.96.0.1'],
  type: 'NodePort',
  externalTrafficPolicy: 'Local',
  ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
});
const sticky = service('sticky', { clusterIP: '10.96.0.2', clusterIPs: ['10.96.0.2'], sessionAffinity: 'ClientIP' });
const plain = service('chosen', { clusterIP: '10.96.0.3', clusterIPs: ['10.96.0.3'] });
const annotations = { 'weft.dev/endpoint-choice': 'client-address' };
const chosen = { ...plain, metadata: { ...plain.metadata, annotations } };
const pods = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }];

describe('a Service in the kernel', { timeout: 60_000 }, () => {
  let network: Network;
  const kernel = (of: typeof web) => {
    const slices = [slice(of.metadata.name ?? '', pods)];
    const { models } = viewService({ service: of, slices, node, externalIps: false, services: [], mode: 'nftables' });
    const clusterCidrs = [asCidr('10.244.0.0/16')];
    const netns = netnsPath(network.ns('node'));
    return serviceInKernel({ mode: 'nftables', netns, models, node, clusterCidrs, ipvsScheduler: 'rr' });
  };

  before(async () => {
    network = new Network();
    await Promise.all([network.serve('a', 'a'), network.serve('b', 'b')]);
    await new ProxyProcess(network).start(
      web,
      slice('web', pods),
      sticky,
      slice('sticky', pods),
      chosen,
      slice('chosen', pods),
    );
  });
  after(() => network.remove());

  test('every entry is there as decided, with session affinity too', () => {
    for (const each of [web, sticky, chosen]) {
      const entries = kernel(each);
      assert.ok(entries.length > 5);
      for (const entry of entries) assert.equal(entry.state, 'as decided', JSON.stringify(entry));
    }
  });

  test('of a choice by the client’s address there is a row for each endpoint, not for each of 1,024 slots', () => {
    const entries = kernel(chosen);
    const slots = slotsTogether(entries).filter(({ place }) => place === 'map endpoints-tcp');
    assert.deepEqual(
      slots.map(({ found }) => found),
      ['10.244.1.2 . 8080', '10.244.1.3 . 8080'],
    );
    const counts = slots.map(({ key }) => Number(/^10\.96\.0\.3 \. 80 \. (\d+) slots$/.exec(key)?.[1]));
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      1024,
    );
  });

  test('connections are counted at the address and at the endpoint that got them', async () => {
    for (let count = 0; count < 3; count++) await network.ask('a', 'tcp', '10.96.0.1', 80);
    await network.ask('outside', 'tcp', '172.18.0.2', 30_080);
    const entries = kernel(web);
    const packets = (place: string, key: RegExp): number =>
      entries
        .filter((entry) => entry.place === place && key.test(entry.key))
        .reduce((sum, entry) => sum + (entry.packets ?? 0), 0);
    assert.equal(packets('map services', /^10\.96\.0\.1 /), 3);
    assert.equal(packets('map endpoints-tcp', /^10\.96\.0\.1 /), 3);
    assert.equal(packets('map outside-services', /^172\.18\.0\.2 /), 1);
  });

  test('what is not in the kernel as decided is told', () => {
    const other = { ...web, spec: { ...web.spec, ports: [{ port: 81, protocol: 'TCP', nodePort: 30_080 }] } };
    const missing = kernel(other).filter(({ state }) => state === 'missing');
    assert.ok(missing.some(({ place, key }) => place === 'map services' && key === '10.96.0.1 . tcp . 81'));
    const moved = service('web', { ...web.spec, externalTrafficPolicy: 'Cluster' });
    const different = kernel(moved).filter(({ state }) => state === 'different');
    assert.deepEqual(
      different.map(({ place, key, wanted, found }) => [place, key, wanted, found]),
      [['map source-nat', '172.18.0.2 . tcp . 30080', 'goto masquerade-everybody', 'goto masquerade-visitors']],
    );
  });
});
