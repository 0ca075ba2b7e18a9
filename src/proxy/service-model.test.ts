import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Service, ServiceSpec } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import type { Choice } from './frontend.ts';
import { serviceFrontends } from './service-model.ts';

const node = { name: 'here', addresses: [asIp('172.18.0.2')] };

const service = (spec: ServiceSpec, status?: Service['status']): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { type: 'ClusterIP', clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }], ...spec },
  ...(status === undefined ? {} : { status }),
});

type Conditions = { ready?: boolean; serving?: boolean; terminating?: boolean };
const slice = (endpoints: [ip: string, node: string, conditions?: Conditions][], port = 'http'): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'default' },
  addressType: 'IPv4',
  ports: [{ name: port, port: 8080, protocol: 'TCP' }],
  endpoints: endpoints.map(([ip, nodeName, conditions = {}]) => ({ addresses: [ip], nodeName, conditions })),
});

const show = (choice: Choice | undefined): string =>
  choice?.to === 'backends' ? choice.backends.map(({ ip, port }) => `${ip}:${port}`).join(' ') : (choice?.to ?? '-');
const gone = { ready: false, serving: true, terminating: true };
const [a, b]: [[string, string], [string, string]] = [
  ['10.244.1.2', 'here'],
  ['10.244.2.2', 'there'],
];

const cases: [rule: string, Service, EndpointSlice[], expected: string[]][] = [
  [
    'ready endpoints answer',
    service({}),
    [slice([b, a])],
    ['ClusterIP 10.96.0.1:80 10.244.1.2:8080 10.244.2.2:8080 | - outside'],
  ],
  [
    'an unready endpoint does not',
    service({}),
    [slice([a, [...b, { ready: false }]])],
    ['ClusterIP 10.96.0.1:80 10.244.1.2:8080 | - outside'],
  ],
  [
    'terminating ones answer when none is ready',
    service({}),
    [slice([[...a, gone]])],
    ['ClusterIP 10.96.0.1:80 10.244.1.2:8080 | - outside'],
  ],
  [
    'terminating ones do not when one is ready',
    service({}),
    [slice([[...a, gone], b])],
    ['ClusterIP 10.96.0.1:80 10.244.2.2:8080 | - outside'],
  ],
  ['without endpoints it rejects', service({}), [], ['ClusterIP 10.96.0.1:80 reject | - outside']],
  [
    'a slice without this port does not count',
    service({}),
    [slice([a], 'other')],
    ['ClusterIP 10.96.0.1:80 reject | - outside'],
  ],
  [
    'internal Local uses this node alone',
    service({ internalTrafficPolicy: 'Local' }),
    [slice([a, b])],
    ['ClusterIP 10.96.0.1:80 10.244.1.2:8080 | - outside'],
  ],
  [
    'internal Local drops without local endpoints',
    service({ internalTrafficPolicy: 'Local' }),
    [slice([b])],
    ['ClusterIP 10.96.0.1:80 drop | - outside'],
  ],
  [
    'internal Local rejects without any',
    service({ internalTrafficPolicy: 'Local' }),
    [],
    ['ClusterIP 10.96.0.1:80 reject | - outside'],
  ],
  [
    'external Local: outside sees local endpoints, the cluster all',
    service({
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
    }),
    [slice([a, b])],
    [
      'ClusterIP 10.96.0.1:80 10.244.1.2:8080 10.244.2.2:8080 | - outside',
      'NodePort 172.18.0.2:30080 10.244.1.2:8080 10.244.2.2:8080 | 10.244.1.2:8080 node',
    ],
  ],
  ['a headless Service has no frontend', service({ clusterIP: 'None' }), [slice([a])], []],
  ['an ExternalName has none', service({ type: 'ExternalName', clusterIP: '' }), [], []],
  [
    'a load balancer address with ipMode Proxy is left alone',
    service(
      { type: 'LoadBalancer' },
      { loadBalancer: { ingress: [{ ip: '192.0.2.1' }, { ip: '192.0.2.2', ipMode: 'Proxy' }] } },
    ),
    [slice([a])],
    ['ClusterIP 10.96.0.1:80 10.244.1.2:8080 | - outside', 'LoadBalancer 192.0.2.1:80 10.244.1.2:8080 | - everybody'],
  ],
];

for (const [rule, object, slices, expected] of cases)
  test(rule, () => {
    const found = serviceFrontends(object, slices, node).map(
      ({ kind, address, port, choice, outside, sourceNat }) =>
        `${kind} ${address}:${port} ${show(choice)} | ${show(outside)} ${sourceNat}`,
    );
    assert.deepEqual(found, expected);
  });

test('where a load balancer lets a node in, it lets it in under its own address too', () => {
  const of = (range: string) =>
    serviceFrontends(
      service(
        { type: 'LoadBalancer', loadBalancerSourceRanges: [range] },
        { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } },
      ),
      [slice([a])],
      node,
    ).find(({ kind }) => kind === 'LoadBalancer')?.sources;
  assert.deepEqual(of('172.18.0.0/16'), ['172.18.0.0/16', '192.0.2.1/32']);
  assert.deepEqual(of('198.51.100.0/24'), ['198.51.100.0/24']);
});
