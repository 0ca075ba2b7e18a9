import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Service } from '../../k8s/types.generated.ts';
import { readCorefile } from '../corefile/corefile.ts';
import { Explainer } from './explainer.ts';
import { namesTried, readResolver } from './resolver.ts';

test('resolv.conf: servers, the last search list, ndots', () => {
  const text =
    '# pod\nsearch old\nsearch a.b. c ; comment\nnameserver 10.96.0.10\nnameserver fd00::a\noptions edns0 ndots:5 ndots:3\n';
  assert.deepEqual(readResolver(text), { servers: ['10.96.0.10', 'fd00::a'], search: ['a.b', 'c'], ndots: 3 });
  assert.deepEqual(readResolver(''), { servers: [], search: [], ndots: 1 });
});

test('names are tried as resolver libraries do it', () => {
  const settings = { search: ['ns.svc', 'svc'], ndots: 2 };
  assert.deepEqual(namesTried('web', settings), ['web.ns.svc', 'web.svc', 'web']);
  assert.deepEqual(namesTried('web.other', settings), ['web.other.ns.svc', 'web.other.svc', 'web.other']);
  assert.deepEqual(namesTried('www.example.org', settings), [
    'www.example.org',
    'www.example.org.ns.svc',
    'www.example.org.svc',
  ]);
  assert.deepEqual(namesTried('web.', settings), ['web']);
});

const service = (name: string, spec: Service['spec']): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  ...(spec && { spec }),
});

const slice = (owner: string, ready: boolean): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${owner}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': owner } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 80 }],
  endpoints: [
    {
      addresses: ['10.244.0.5'],
      conditions: { ready },
      hostname: 'db-0',
      targetRef: { kind: 'Pod', namespace: 'default', name: 'db-0' },
    },
  ],
});

const corefile = `
office.example {
  forward . 10.0.0.53
}
.:53 {
  rewrite name shop.example.com web.default.svc.cluster.local
  hosts {
    192.0.2.7 printer.example
    fallthrough
  }
  kubernetes cluster.local in-addr.arpa {
    pods insecure
    fallthrough in-addr.arpa
  }
}`;

async function explain(name: string, type = 'A'): Promise<string> {
  const { config } = await readCorefile(corefile);
  assert.ok(config);
  const explainer = new Explainer(
    config,
    { get: () => undefined },
    {
      namespaces: ['default', 'shop'].map((one) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: one },
        spec: {},
      })),
      services: [
        service('web', {
          clusterIP: '10.96.0.7',
          clusterIPs: ['10.96.0.7'],
          ipFamilies: ['IPv4'],
          selector: { app: 'web' },
          ports: [{ name: 'http', port: 80 }],
        }),
        service('db', { clusterIP: 'None', selector: { app: 'db' }, ports: [{ name: 'http', port: 80 }] }),
        service('slow', { clusterIP: 'None', selector: { app: 'slow' } }),
        service('out', { type: 'ExternalName', externalName: 'example.org' }),
      ],
      slices: [slice('db', true), slice('slow', false)],
    },
  );
  const { by, why } = explainer.explain(name, type);
  return `${by}: ${why}`;
}

for (const [name, type, expected] of [
  [
    'web.default.svc.cluster.local',
    'A',
    'kubernetes: the address of Service default/web; but it has no endpoints: its selector app=web matches no running pod: connections to it are refused',
  ],
  ['web.default.svc.cluster.local', 'AAAA', 'kubernetes: Service default/web has addresses of IPv4 only'],
  [
    'db.default.svc.cluster.local',
    'A',
    'kubernetes: Service default/db is headless: the addresses of its 1 ready endpoint',
  ],
  [
    'db-0.db.default.svc.cluster.local',
    'A',
    'kubernetes: the address of Pod default/db-0, an endpoint of Service default/db',
  ],
  ['db-1.db.default.svc.cluster.local', 'A', 'kubernetes: Service default/db has no endpoint db-1; it has db-0'],
  [
    'slow.default.svc.cluster.local',
    'A',
    'kubernetes: Service default/slow exists and is headless, but none of its 1 endpoint is ready (db-0): such a name does not exist in DNS',
  ],
  [
    'out.default.svc.cluster.local',
    'A',
    'kubernetes: Service default/out is an ExternalName: another name for example.org',
  ],
  [
    'web.shop.svc.cluster.local',
    'A',
    'kubernetes: there is no Service web in namespace shop; there is one in namespace default: web.default.svc.cluster.local',
  ],
  ['web.shopp.svc.cluster.local', 'A', 'kubernetes: namespace shopp does not exist; did you mean shop?'],
  [
    'web.default.cluster.local',
    'A',
    'kubernetes: names of Services are NAME.NAMESPACE.svc.cluster.local; did you mean web.default.svc.cluster.local?',
  ],
  [
    '10-244-0-9.default.pod.cluster.local',
    'A',
    'kubernetes: the address is in the name itself; the pod was not looked for (pods insecure)',
  ],
  ['7.0.96.10.in-addr.arpa', 'PTR', 'kubernetes: 10.96.0.7 is the address of Service default/web'],
  ['printer.example', 'A', 'hosts: an entry of hosts in the Corefile: 192.0.2.7'],
  [
    'shop.example.com',
    'A',
    'kubernetes: the Corefile rewrites it to web.default.svc.cluster.local: the address of Service default/web; but it has no endpoints: its selector app=web matches no running pod: connections to it are refused',
  ],
  ['www.office.example', 'A', 'forward: asked of 10.0.0.53 port 53'],
  [
    'example.net',
    'A',
    ': it is no name of the cluster, and there is no upstream: give --dns-upstream to weft up, or edit the ConfigMap coredns',
  ],
] as const)
  test(`${type} ${name} is explained`, async () => {
    assert.equal(await explain(name, type), expected);
  });
