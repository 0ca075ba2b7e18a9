import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../../net/address.ts';
import { backend, modelOf, port } from '../fixtures.ts';
import type { ServicePortModel } from '../service-port.ts';
import { type Choice, frontends } from './frontend.ts';

const [here, there] = [backend('10.244.1.2', { local: true }), backend('10.244.2.2')];
const model = (part: Partial<ServicePortModel>): ServicePortModel =>
  modelOf([here, there], { localEndpoints: [here], ...part });
const node = { addresses: [asIp('172.18.0.2')], nodePortAddresses: [asIp('172.18.0.2'), asIp('fd18::2')] };

const show = (choice: Choice | undefined): string =>
  choice?.to === 'backends' ? choice.backends.map(({ ip }) => ip.slice(7)).join(' ') : (choice?.to ?? '-');
const shown = (part: Partial<ServicePortModel>): string[] =>
  frontends(model(part), node).map(
    ({ kind, address, port, choice, outside, sourceNat }) =>
      `${kind} ${address}:${port} ${show(choice)} | ${show(outside)} | ${sourceNat}`,
  );
const everywhere = {
  nodePort: port(30_080),
  loadBalancerIps: [asIp('192.0.2.1')],
  externalIps: [asIp('192.0.2.2')],
};

test('under the policy Cluster all addresses lead to all endpoints, from outside with the address of the node', () => {
  assert.deepEqual(shown(everywhere), [
    'ClusterIP 10.96.0.1:80 1.2 2.2 | - | outside',
    'NodePort 172.18.0.2:30080 1.2 2.2 | - | everybody',
    'LoadBalancer 192.0.2.1:80 1.2 2.2 | - | everybody',
    'ExternalIP 192.0.2.2:80 1.2 2.2 | - | everybody',
  ]);
});

test('under the external policy Local the outside reaches the local ones and keeps its address, the cluster reaches all', () => {
  assert.deepEqual(shown({ ...everywhere, externalTrafficPolicy: 'Local' }), [
    'ClusterIP 10.96.0.1:80 1.2 2.2 | - | outside',
    'NodePort 172.18.0.2:30080 1.2 2.2 | 1.2 | visitors',
    'LoadBalancer 192.0.2.1:80 1.2 2.2 | 1.2 | visitors',
    'ExternalIP 192.0.2.2:80 1.2 2.2 | 1.2 | visitors',
  ]);
});

test('a policy Local without a local endpoint drops; without any endpoint anywhere it rejects', () => {
  const local = { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local', nodePort: port(30_080) } as const;
  assert.deepEqual(shown({ ...local, localEndpoints: [], clusterEndpoints: [there] }), [
    'ClusterIP 10.96.0.1:80 drop | - | outside',
    'NodePort 172.18.0.2:30080 2.2 | drop | visitors',
  ]);
  assert.deepEqual(shown({ ...local, localEndpoints: [], clusterEndpoints: [], hasAnyEndpoints: false }), [
    'ClusterIP 10.96.0.1:80 reject | - | outside',
    'NodePort 172.18.0.2:30080 reject | reject | visitors',
  ]);
});

test('where a load balancer lets a node in, it lets it in under its own address too', () => {
  const of = (range: string) =>
    frontends(model({ ...everywhere, sourceRanges: [asCidr(range)] }), node).map(({ sources }) => sources);
  assert.deepEqual(of('172.18.0.0/16'), [undefined, undefined, ['172.18.0.0/16', '192.0.2.1/32'], undefined]);
  assert.deepEqual(of('198.51.100.0/24'), [undefined, undefined, ['198.51.100.0/24'], undefined]);
});
