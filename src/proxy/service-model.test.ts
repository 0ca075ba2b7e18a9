import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Endpoint, EndpointSlice, Service, ServiceSpec } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import { serviceModel } from './service-model.ts';
import type { Backend, ProxyNode, ServicePortModel } from './service-port.ts';

const address = asIp('172.18.0.2');
const node: ProxyNode = { name: 'n1', addresses: [address], nodePortAddresses: [address], podCidrs: [], zone: 'z1' };

const service = (spec: ServiceSpec, more: Partial<Service> = {}): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default', ...more.metadata },
  spec: { type: 'ClusterIP', clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }], ...spec },
  ...(more.status === undefined ? {} : { status: more.status }),
});
const slice = (endpoints: Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'default' },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints,
  ...more,
});

/**
 * Endpoints in a few letters: `a1` is endpoint a on node n1; then what is not as usual: `t` terminating and serving,
 * `u` unready, `z1` for the clients of the zone z1, `n1` for those of the node n1, `!` terminating and not serving.
 */
const endpoint = (text: string): Endpoint => {
  const [, letter = '', nodeNumber = '', state = '', hints = ''] =
    /^([a-z])(\d)([tu!]?)((?:[zn]\d)*)$/.exec(text) ?? [];
  const named = (kind: string) => [...hints.matchAll(new RegExp(`${kind}\\d`, 'g'))].map(([name]) => ({ name }));
  const conditions = {
    '': { ready: true, serving: true, terminating: false },
    t: { ready: false, serving: true, terminating: true },
    '!': { ready: false, serving: false, terminating: true },
    u: { ready: false, serving: false, terminating: false },
  }[state];
  return {
    addresses: [`10.244.${nodeNumber}.${letter.charCodeAt(0) - 96}`],
    nodeName: `n${nodeNumber}`,
    ...(conditions !== undefined && { conditions }),
    hints: { forZones: named('z'), forNodes: named('n') },
  };
};
const endpoints = (text: string): Endpoint[] => text.split(' ').filter(Boolean).map(endpoint);
const letters = (backends: readonly Backend[]): string =>
  backends
    .map(({ ip }) => String.fromCharCode(96 + Number(ip.split('.')[3])))
    .sort()
    .join('');
const only = (models: readonly ServicePortModel[]): ServicePortModel => {
  assert.equal(models.length, 1);
  return models[0] ?? assert.fail();
};

const internalLocal: ServiceSpec = { internalTrafficPolicy: 'Local' };
const external: ServiceSpec = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30_080 }] };
const externalLocal: ServiceSpec = { ...external, externalTrafficPolicy: 'Local' };

/** Rule, Service, endpoints as above; expected: Cluster, Local, all, hasAny. */
const categories: [rule: string, ServiceSpec, string, cluster: string, local: string, all: string, any: boolean][] = [
  ['ready endpoints answer', {}, 'a1 b2', 'ab', '', 'ab', true],
  ['an unready endpoint does not', {}, 'a1 b2u', 'a', '', 'a', true],
  ['terminating ones answer where none is ready', {}, 'a1t b2t c2u', 'ab', '', 'ab', true],
  ['terminating ones do not where one is ready', {}, 'a1t b2', 'b', '', 'b', true],
  ['terminating ones that do not serve never do', {}, 'a1! b2!', '', '', '', false],
  ['without endpoints there is nobody', {}, '', '', '', '', false],

  ['internal Local: those of this node', internalLocal, 'a1 b2', '', 'a', 'a', true],
  ['internal Local: nobody here, somebody elsewhere', internalLocal, 'b2', '', '', '', true],
  ['internal Local: nobody here, somebody terminating elsewhere', internalLocal, 'b2t', '', '', '', true],
  ['internal Local: nobody anywhere', internalLocal, 'b2u', '', '', '', false],
  ['internal Local: terminating here where none is ready here', internalLocal, 'a1t b2', '', 'a', 'a', true],

  ['external Local: outside has local ones, the cluster all', externalLocal, 'a1 b2', 'ab', 'a', 'ab', true],
  ['external Local: nobody here', externalLocal, 'b2', 'b', '', 'b', true],
  ['external Local: each list falls back on its own', externalLocal, 'a1t b2', 'b', 'a', 'ab', true],
  ['external Local: all terminate', externalLocal, 'a1t b2t', 'ab', 'a', 'ab', true],
  [
    'both Local, outside of reach: the local ones',
    { ...internalLocal, externalTrafficPolicy: 'Local' },
    'a1 b2',
    '',
    'a',
    'a',
    true,
  ],
  ['both Local and reachable: both lists', { ...internalLocal, ...externalLocal }, 'a1 b2', 'ab', 'a', 'ab', true],

  ['hints for the zone of this node', {}, 'a1z1 b2z2', 'a', '', 'a', true],
  ['hints for another zone alone are not followed', {}, 'a1z2 b2z2', 'ab', '', 'ab', true],
  ['one endpoint without a hint: none is followed', {}, 'a1z1 b2', 'ab', '', 'ab', true],
  ['an unready endpoint without a hint does not count', {}, 'a1z1 b2u c2z2', 'a', '', 'a', true],
  ['several zones in a hint', {}, 'a1z1z2 b2z2 c3z1', 'ac', '', 'ac', true],
  ['hints for this node come before those for its zone', {}, 'a1z1n1 b2z1n2 c3z1n1', 'ac', '', 'ac', true],
  ['hints for other nodes: those for the zone count', {}, 'a1z1n2 b2z2n2 c3z1n3', 'ac', '', 'ac', true],
  ['one endpoint without a node hint: those for the zone count', {}, 'a1z1n1 b2z1', 'ab', '', 'ab', true],
  ['hints do not keep terminating endpoints from serving', {}, 'a1tz1 b2tz2', 'ab', '', 'ab', true],
  ['policy Local does not look at hints', internalLocal, 'a1z2 b2z1', '', 'a', 'a', true],
  ['external Local with hints: each list is its own', externalLocal, 'a1z2 b2z1', 'b', 'a', 'ab', true],
];

describe('which endpoints answer', () => {
  for (const [rule, spec, text, ...expected] of categories)
    test(rule, () => {
      const model = only(serviceModel(service(spec), [slice(endpoints(text))], node, { externalIps: false }));
      const { clusterEndpoints, localEndpoints, allEndpoints, hasAnyEndpoints } = model;
      assert.deepEqual(
        [letters(clusterEndpoints), letters(localEndpoints), letters(allEndpoints), hasAnyEndpoints],
        expected,
      );
    });

  test('without the label of a zone its hints are not followed', () => {
    const { zone: _, ...nowhere } = node;
    const slices = [slice(endpoints('a1z1 b2z2'))];
    assert.equal(
      letters(only(serviceModel(service({}), slices, nowhere, { externalIps: false })).clusterEndpoints),
      'ab',
    );
  });

  test('an endpoint in two slices, as while it moves, is one, and ready where it is so in one of them', () => {
    for (const order of ['a1 a1t', 'a1t a1']) {
      const slices = order.split(' ').map((text) => slice(endpoints(text)));
      const { clusterEndpoints } = only(serviceModel(service({}), slices, node, { externalIps: false }));
      assert.deepEqual(
        clusterEndpoints.map(({ ready }) => ready),
        [true],
      );
    }
  });

  test('slices of another family, of another port or without a port are not of this port', () => {
    const slices = [
      slice([{ addresses: ['fd00::1'] }], { addressType: 'IPv6' }),
      slice(endpoints('a1'), { ports: [{ name: 'other', port: 8080 }] }),
      slice(endpoints('b1'), { ports: [{ name: 'http', port: 8080, protocol: 'UDP' }] }),
      slice(endpoints('c1'), { ports: [] }),
    ];
    assert.equal(only(serviceModel(service({}), slices, node, { externalIps: false })).hasAnyEndpoints, false);
  });

  test('all that serve are known, though new connections go elsewhere', () => {
    const { servingEndpoints } = only(
      serviceModel(service({}), [slice(endpoints('a1t b2 c1z1 d2! e2u'))], node, { externalIps: false }),
    );
    assert.equal(letters(servingEndpoints), 'abc');
  });

  test('endpoints are in the order of kube-proxy, by their text', () => {
    const slices = [slice(['10.0.0.1', '10.0.0.10', '10.0.0.2'].map((ip) => ({ addresses: [ip] })))];
    const { clusterEndpoints } = only(serviceModel(service({}), slices, node, { externalIps: false }));
    assert.deepEqual(
      clusterEndpoints.map(({ ip }) => ip),
      ['10.0.0.10', '10.0.0.1', '10.0.0.2'],
    );
  });
});

describe('what a Service is', () => {
  const model = (spec: ServiceSpec, more: Partial<Service> = {}, options = { externalIps: true }) =>
    serviceModel(service(spec, more), [], node, options);

  test('headless Services and ExternalNames have no address', () => {
    assert.deepEqual(model({ clusterIP: 'None' }), []);
    assert.deepEqual(model({ type: 'ExternalName', clusterIP: '' }), []);
  });

  test('each port has a model in each family', () => {
    const ports = [
      { name: 'a', port: 1 },
      { name: 'b', port: 2, protocol: 'SCTP' },
    ];
    const found = model({ clusterIPs: ['10.96.0.1', 'fd96::1'], ports });
    assert.deepEqual(
      found.map(({ family, protocol, port, clusterIp }) => `${family} ${protocol} ${clusterIp} ${port}`),
      ['IPv4 TCP 10.96.0.1 1', 'IPv4 SCTP 10.96.0.1 2', 'IPv6 TCP fd96::1 1', 'IPv6 SCTP fd96::1 2'],
    );
  });

  test('a load balancer address with ipMode Proxy is left alone', () => {
    const status = {
      loadBalancer: { ingress: [{ ip: '192.0.2.1' }, { ip: '192.0.2.2', ipMode: 'Proxy' }, { ip: '2001:db8::1' }] },
    };
    assert.deepEqual(only(model({ type: 'LoadBalancer' }, { status })).loadBalancerIps, ['192.0.2.1']);
    assert.deepEqual(only(model({ type: 'NodePort' }, { status })).loadBalancerIps, []);
  });

  test('externalIPs are served where the cluster allows them', () => {
    const spec = { externalIPs: ['192.0.2.7', '2001:db8::7', '192.0.2.7'] };
    assert.deepEqual(only(model(spec)).externalIps, ['192.0.2.7']);
    assert.deepEqual(only(model(spec, {}, { externalIps: false })).externalIps, []);
  });

  test('source ranges are those of the family; where none is, nobody is let in', () => {
    const of = (...loadBalancerSourceRanges: string[]) => only(model({ loadBalancerSourceRanges })).sourceRanges;
    assert.deepEqual(of(), undefined);
    assert.deepEqual(of('10.0.0.0/8 ', 'fd00::/8'), ['10.0.0.0/8']);
    assert.deepEqual(of('fd00::/8'), []);
  });

  test('affinity lasts three hours unless it says otherwise', () => {
    const of = (timeoutSeconds?: number) =>
      only(
        model({
          sessionAffinity: 'ClientIP',
          ...(timeoutSeconds !== undefined && { sessionAffinityConfig: { clientIP: { timeoutSeconds } } }),
        }),
      ).affinitySeconds;
    assert.deepEqual([of(), of(60), of(0), of(100_000)], [10_800, 60, 10_800, 10_800]);
    assert.equal(only(model({})).affinitySeconds, undefined);
  });

  test('a port that is none, and a protocol that is none, are left out', () => {
    assert.deepEqual(model({ ports: [{ port: 70_000 }, { port: 80, protocol: 'ICMP' }] }), []);
  });
});
