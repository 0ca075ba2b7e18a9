import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyDefaults } from './defaults.ts';
import { type FieldError, fieldErrorText, invalid } from './errors.ts';
import { crdSchema, type Fields } from './types.ts';
import { validateCrd, validateCreate, validateUpdate } from './validate.ts';

const meta = { name: 'x', namespace: 'default' };
const texts = (errors: readonly FieldError[]): string[] => errors.map(fieldErrorText);

/** What is wrong with a new object, after its defaults. */
function faults(gvk: string, object: Fields): string[] {
  const copy = structuredClone({ metadata: meta, ...object });
  applyDefaults(gvk, copy);
  return texts(validateCreate(gvk, copy));
}

function updateFaults(gvk: string, old: Fields, object: Fields): string[] {
  const [before, after] = [old, object].map((each) => {
    const copy: Fields = structuredClone({ metadata: meta, ...each });
    applyDefaults(gvk, copy);
    return copy;
  });
  return texts(validateUpdate(gvk, after ?? {}, before ?? {}));
}

const container = { name: 'a', image: 'nginx:1' };
const pod = (fields: Fields): Fields => ({ spec: { containers: [container], ...fields } });
const one = (fields: Fields): Fields => pod({ containers: [{ ...container, ...fields }] });
const workload = (fields: Fields = {}): Fields => ({
  spec: {
    selector: { matchLabels: { app: 'a' } },
    template: { metadata: { labels: { app: 'a' } }, spec: { containers: [container] } },
    ...fields,
  },
});

it('a 422 names the kind, the object and each field', () => {
  const errors: FieldError[] = [
    { path: 'spec.a', type: 'Required' },
    { path: 'spec.b', type: 'NotSupported', value: 'x', supported: ['y', 'z'] },
  ];
  const { status } = invalid({ group: 'apps', kind: 'Deployment' }, 'web', errors);
  assert.equal(
    status.message,
    'Deployment.apps "web" is invalid: [spec.a: Required value, spec.b: Unsupported value: "x": supported values: "y", "z"]',
  );
  assert.deepEqual(status.details, {
    name: 'web',
    group: 'apps',
    kind: 'Deployment',
    causes: [
      { reason: 'FieldValueRequired', message: 'Required value', field: 'spec.a' },
      {
        reason: 'FieldValueNotSupported',
        message: 'Unsupported value: "x": supported values: "y", "z"',
        field: 'spec.b',
      },
    ],
  });
});

describe('pods', () => {
  const cases: readonly (readonly [string, Fields, string])[] = [
    ['an ordinary one', pod({}), ''],
    ['no containers', pod({ containers: [] }), 'spec.containers: Required value'],
    ['no image', pod({ containers: [{ name: 'a' }] }), 'spec.containers[0].image: Required value'],
    ['two of one name', pod({ containers: [container, container] }), 'spec.containers[1].name: Duplicate value: "a"'],
    [
      'a mount of no volume',
      one({ volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
      'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ],
    [
      'a port out of range',
      one({ ports: [{ containerPort: 70000 }] }),
      'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    ],
    [
      'more requested than allowed',
      one({ resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } }),
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      'a probe of nothing',
      one({ livenessProbe: {} }),
      'spec.containers[0].livenessProbe: Required value: must specify a handler type',
    ],
    [
      'a restart policy',
      pod({ restartPolicy: 'Sometimes' }),
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ],
    [
      'a claim',
      pod({ volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }] }),
      'spec.volumes[0].persistentVolumeClaim: Forbidden: PersistentVolumeClaims are not served by this cluster',
    ],
    [
      'dnsPolicy None alone',
      pod({ dnsPolicy: 'None' }),
      'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None',
    ],
    [
      'a sidecar',
      pod({
        initContainers: [
          { name: 's', image: 'x', restartPolicy: 'Always', readinessProbe: { exec: { command: ['x'] } } },
        ],
      }),
      '',
    ],
  ];
  for (const [name, object, expected] of cases)
    it(name, () => assert.equal(faults('v1/Pod', object).join('\n'), expected));

  it('one port of the node cannot be had twice', () => {
    const ports = [{ containerPort: 80, hostPort: 80 }];
    const twice = pod({
      containers: [
        { ...container, ports },
        { ...container, name: 'b', ports },
      ],
    });
    assert.deepEqual(faults('v1/Pod', twice), ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"']);
  });

  it("ports of pods on the node's network are the node's own; a template may leave that open", () => {
    const onNode = (hostPort?: number): Fields => ({
      hostNetwork: true,
      containers: [{ ...container, ports: [{ containerPort: 80, ...(hostPort !== undefined && { hostPort }) }] }],
    });
    const template = (spec: Fields): Fields => workload({ template: { metadata: { labels: { app: 'a' } }, spec } });
    assert.deepEqual(faults('apps/v1/Deployment', template(onNode())), []);
    const said =
      'containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true';
    assert.deepEqual(faults('apps/v1/Deployment', template(onNode(81))), [`spec.template.spec.${said}`]);
    assert.deepEqual(faults('v1/Pod', { spec: onNode(81) }), [`spec.${said}`]);
  });

  it('of an existing pod the image may change, little else', () => {
    assert.deepEqual(updateFaults('v1/Pod', pod({}), one({ image: 'nginx:2', imagePullPolicy: 'IfNotPresent' })), []);
    const [fault] = updateFaults('v1/Pod', pod({}), pod({ hostNetwork: true }));
    assert.match(
      fault ?? '',
      /^spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`/,
    );
  });
});

describe('names and labels', () => {
  it('a name in capitals', () => {
    assert.deepEqual(faults('v1/ConfigMap', { metadata: { name: 'Foo' } }), [
      "metadata.name: Invalid value: \"Foo\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ]);
  });

  it('Services are DNS-1035 labels, RBAC names path segments', () => {
    assert.match(
      faults('v1/Service', { metadata: { name: '1a' }, spec: { ports: [{ port: 1 }] } }).join(),
      /a DNS-1035 label must consist of/,
    );
    assert.deepEqual(faults('rbac.authorization.k8s.io/v1/ClusterRole', { metadata: { name: 'system:node' } }), []);
  });

  it('no name at all', () => {
    assert.deepEqual(faults('v1/ConfigMap', { metadata: {} }), [
      'metadata.name: Required value: name or generateName is required',
    ]);
  });
});

describe('workloads', () => {
  it('the selector must select the template, and stays as it is', () => {
    const other = { matchLabels: { app: 'b' } };
    assert.deepEqual(faults('apps/v1/Deployment', workload({ selector: other })), [
      'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
    ]);
    assert.deepEqual(faults('apps/v1/Deployment', workload({ selector: undefined })), [
      'spec.selector: Required value',
      'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
    ]);
    const moved = workload({
      selector: other,
      template: { metadata: { labels: { app: 'b' } }, spec: { containers: [container] } },
    });
    assert.deepEqual(updateFaults('apps/v1/Deployment', workload(), moved), [
      'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
    ]);
  });

  it('pods of Deployments restart always, those of Jobs never always', () => {
    const never = { metadata: { labels: { app: 'a' } }, spec: { containers: [container], restartPolicy: 'Never' } };
    assert.deepEqual(faults('apps/v1/Deployment', workload({ template: never })), [
      'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ]);
    const job = { metadata: { ...meta, uid: 'u' }, spec: { template: { spec: { containers: [container] } } } };
    assert.deepEqual(faults('batch/v1/Job', job), [
      'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ]);
  });

  it('a rolling update that can neither add nor remove', () => {
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: '0%' } };
    assert.deepEqual(faults('apps/v1/Deployment', workload({ strategy })), [
      'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
    ]);
  });

  it('a StatefulSet keeps its service, and has no claims', () => {
    assert.match(
      updateFaults('apps/v1/StatefulSet', workload({ serviceName: 'a' }), workload({ serviceName: 'b' })).join(),
      /^spec: Forbidden: updates to statefulset spec for fields other than 'replicas'/,
    );
    assert.deepEqual(faults('apps/v1/StatefulSet', workload({ volumeClaimTemplates: [{ metadata: { name: 'd' } }] })), [
      'spec.volumeClaimTemplates: Forbidden: PersistentVolumeClaims are not served by this cluster',
    ]);
  });
});

describe('network', () => {
  const service = (spec: Fields): Fields => ({ spec });
  it('Services', () => {
    assert.deepEqual(faults('v1/Service', service({})), ['spec.ports: Required value']);
    assert.deepEqual(faults('v1/Service', service({ clusterIP: 'None' })), []);
    assert.deepEqual(faults('v1/Service', service({ ports: [{ port: 80 }, { port: 81 }] })), [
      'spec.ports[0].name: Required value',
      'spec.ports[1].name: Required value',
    ]);
    assert.deepEqual(faults('v1/Service', service({ ports: [{ port: 80, nodePort: 30000 }] })), [
      "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ]);
    assert.deepEqual(faults('v1/Service', service({ type: 'ExternalName' })), ['spec.externalName: Required value']);
    const ports = [{ port: 80 }];
    assert.deepEqual(
      updateFaults('v1/Service', service({ ports, clusterIP: '10.0.0.1' }), service({ ports, clusterIP: '10.0.0.2' })),
      ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'],
    );
  });

  it('NetworkPolicies', () => {
    const ingress = (from: Fields): string[] =>
      faults('networking.k8s.io/v1/NetworkPolicy', { spec: { podSelector: {}, ingress: [{ from: [from] }] } });
    assert.deepEqual(ingress({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }), []);
    assert.deepEqual(ingress({ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }), [
      'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
    ]);
    assert.deepEqual(ingress({}), ['spec.ingress[0].from[0]: Required value: must specify a peer']);
  });

  it('Ingresses', () => {
    const backend = { service: { name: 's', port: { number: 80 } } };
    const ingress = (path: Fields): string[] =>
      faults('networking.k8s.io/v1/Ingress', { spec: { rules: [{ host: 'a.b', http: { paths: [path] } }] } });
    assert.deepEqual(ingress({ path: '/', pathType: 'Prefix', backend }), []);
    assert.deepEqual(ingress({ path: '/', backend }), [
      'spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified',
    ]);
    assert.deepEqual(ingress({ path: 'x', pathType: 'Exact', backend }), [
      'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
    ]);
    assert.deepEqual(faults('networking.k8s.io/v1/Ingress', { spec: {} }), [
      'spec: Invalid value: []: either `defaultBackend` or `rules` must be specified',
    ]);
  });

  it('EndpointSlices hold addresses of their own family', () => {
    const slice = (address: string): string[] =>
      faults('discovery.k8s.io/v1/EndpointSlice', { addressType: 'IPv4', endpoints: [{ addresses: [address] }] });
    assert.deepEqual(slice('10.0.0.1'), []);
    assert.deepEqual(slice('fd00::1'), [
      'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address',
    ]);
    assert.match(slice('127.0.0.1').join(), /may not be in the loopback range/);
  });
});

it('an immutable ConfigMap or Secret stays as it is', () => {
  const old = { data: { a: 'MQ==' }, immutable: true };
  assert.deepEqual(updateFaults('v1/ConfigMap', old, { ...old, data: { a: 'Mg==' } }), [
    'data: Forbidden: field is immutable when `immutable` is set',
  ]);
  assert.deepEqual(updateFaults('v1/Secret', old, { ...old, type: 'x' }), [
    'type: Invalid value: "x": field is immutable',
  ]);
});

describe('custom resources', () => {
  const spec = (properties: Fields, more: Fields = {}) =>
    crdSchema({ type: 'object', properties: { spec: { type: 'object', properties, ...more } } });
  const found = (schema: ReturnType<typeof spec>, value: Fields): string[] =>
    texts(validateCrd(schema, { spec: value }));

  it("types, ranges, lengths, patterns, enums in upstream's words", () => {
    const schema = spec({
      n: { type: 'integer', minimum: 1, maximum: 3 },
      s: { type: 'string', minLength: 2, maxLength: 3, pattern: '^a' },
      e: { type: 'string', enum: ['x', 'y'] },
      l: { type: 'array', maxItems: 1, items: { type: 'string' } },
      p: { 'x-kubernetes-int-or-string': true },
    });
    assert.deepEqual(found(schema, { n: 2, s: 'ab', e: 'x', l: ['a'], p: 'http' }), []);
    assert.deepEqual(found(schema, { n: 'string', s: 'b', e: 'z', l: [1, 'b'], p: true }), [
      'spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"',
      'spec.s: Invalid value: "b": spec.s in body should be at least 2 chars long',
      'spec.s: Invalid value: "b": spec.s in body should match \'^a\'',
      'spec.e: Unsupported value: "z": supported values: "x", "y"',
      'spec.l: Too many: 2: must have at most 1 items',
      'spec.l[0]: Invalid value: "integer": spec.l[0] in body must be of type string: "integer"',
      'spec.p: Invalid value: "boolean": spec.p in body must be of type integer,string: "boolean"',
    ]);
    assert.deepEqual(found(schema, { n: 0, s: 'abcd' }), [
      'spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1',
      'spec.s: Too long: may not be more than 3 bytes',
    ]);
  });

  it('required fields and the logic of oneOf', () => {
    const schema = spec(
      { a: { type: 'string' }, b: { type: 'string' } },
      { oneOf: [{ required: ['a'] }, { required: ['b'] }] },
    );
    assert.deepEqual(found(schema, { a: 'x' }), []);
    assert.match(
      found(schema, { a: 'x', b: 'y' }).join(),
      /"spec" must validate one and only one schema \(oneOf\)\. Found 2 valid alternatives/,
    );
    assert.deepEqual(found(spec({}, { required: ['a'] }), {}), ['spec.a: Required value']);
  });

  it('lists of type map and set have no two of one key', () => {
    const schema = spec({
      m: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['k'],
        items: { type: 'object', properties: { k: { type: 'string' } } },
      },
      s: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    });
    assert.deepEqual(found(schema, { m: [{ k: 'a' }, { k: 'a', x: 1 }], s: ['b', 'b'] }), [
      'spec.m[1]: Duplicate value: {"k":"a"}',
      'spec.s[1]: Duplicate value: "b"',
    ]);
  });
});

describe('definitions', () => {
  const definition = (openAPIV3Schema: unknown, more: Fields = {}): Fields => ({
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'things', kind: 'Thing' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } }],
      ...more,
    },
  });
  const gvk = 'apiextensions.k8s.io/v1/CustomResourceDefinition';

  it('the schema must be structural', () => {
    assert.deepEqual(faults(gvk, definition({ type: 'object', properties: { spec: { type: 'object' } } })), []);
    assert.deepEqual(faults(gvk, definition({ type: 'object', properties: { spec: {} } })), [
      'spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields',
    ]);
    assert.deepEqual(faults(gvk, definition(undefined)), [
      'spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required',
    ]);
  });

  it('the name is that of the resource, and one version is stored', () => {
    const wrong = definition({ type: 'object' }, { names: { plural: 'thing', kind: 'Thing' } });
    assert.deepEqual(faults(gvk, wrong), [
      'metadata.name: Invalid value: "things.example.com": must be spec.names.plural+"."+spec.group',
    ]);
    const none = definition(
      { type: 'object' },
      { versions: [{ name: 'v1', served: true, storage: false, schema: { openAPIV3Schema: { type: 'object' } } }] },
    );
    assert.match(faults(gvk, none).join(), /must have exactly one version marked as storage version/);
  });
});
