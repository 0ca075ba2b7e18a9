import assert from 'node:assert/strict';
import { it } from 'node:test';
import { applyCrdDefaults, applyDefaults } from './defaults.ts';
import { crdSchema, type Fields } from './types.ts';

const defaulted = (gvk: string, object: Fields): Fields => {
  applyDefaults(gvk, object);
  return object;
};

it("a pod gets upstream's defaults, and a second time changes nothing", () => {
  const pod = defaulted('v1/Pod', {
    spec: {
      containers: [
        {
          name: 'a',
          image: 'nginx',
          ports: [{ containerPort: 80 }],
          readinessProbe: { httpGet: { port: 80 } },
          resources: { limits: { cpu: '1' } },
          env: [{ name: 'N', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        },
      ],
      volumes: [{ name: 'v' }, { name: 'c', configMap: { name: 'c' } }],
      serviceAccountName: 'x',
    },
  });
  assert.deepEqual(pod, {
    spec: {
      containers: [
        {
          name: 'a',
          image: 'nginx',
          imagePullPolicy: 'Always',
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          ports: [{ containerPort: 80, protocol: 'TCP' }],
          readinessProbe: {
            httpGet: { port: 80, path: '/', scheme: 'HTTP' },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
          resources: { limits: { cpu: '1' }, requests: { cpu: '1' } },
          env: [{ name: 'N', valueFrom: { fieldRef: { fieldPath: 'metadata.name', apiVersion: 'v1' } } }],
        },
      ],
      volumes: [
        { name: 'v', emptyDir: {} },
        { name: 'c', configMap: { name: 'c', defaultMode: 420 } },
      ],
      serviceAccountName: 'x',
      serviceAccount: 'x',
      dnsPolicy: 'ClusterFirst',
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
      securityContext: {},
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
    },
  });
  assert.deepEqual(defaulted('v1/Pod', structuredClone(pod)), pod);
});

it('the pull policy follows the tag', () => {
  const policies: Record<string, string> = {
    nginx: 'Always',
    'nginx:latest': 'Always',
    'nginx:1.27': 'IfNotPresent',
    'localhost:5000/nginx': 'Always',
    'localhost:5000/nginx:1': 'IfNotPresent',
    'nginx@sha256:0123': 'IfNotPresent',
  };
  for (const [image, policy] of Object.entries(policies)) {
    const pod = defaulted('v1/Pod', { spec: { containers: [{ name: 'a', image }] } });
    assert.equal((pod.spec as { containers: Fields[] }).containers[0]?.imagePullPolicy, policy, image);
  }
});

it("host ports are filled in for pods on the node's network, not for templates", () => {
  const spec = (): Fields => ({ hostNetwork: true, containers: [{ name: 'a', ports: [{ containerPort: 80 }] }] });
  const portOf = (holder: unknown): unknown =>
    (holder as { containers: { ports: Fields[] }[] }).containers[0]?.ports[0]?.hostPort;
  assert.equal(portOf(defaulted('v1/Pod', { spec: spec() }).spec), 80);
  const deployment = defaulted('apps/v1/Deployment', { spec: { template: { spec: spec() } } });
  assert.equal(portOf((deployment.spec as { template: Fields }).template.spec), undefined);
});

it('a Service: ports, policies by type, affinity', () => {
  const service = defaulted('v1/Service', {
    spec: { type: 'NodePort', sessionAffinity: 'ClientIP', ports: [{ port: 80 }] },
  });
  assert.deepEqual(service, {
    spec: {
      type: 'NodePort',
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      externalTrafficPolicy: 'Cluster',
      internalTrafficPolicy: 'Cluster',
    },
    status: { loadBalancer: {} },
  });
});

it('a Job gets the selector of its own uid, in the labels of its pods too', () => {
  const job = defaulted('batch/v1/Job', { metadata: { name: 'j', uid: 'u' }, spec: { template: { spec: {} } } });
  const spec = job.spec as { selector: unknown; template: { metadata: unknown }; backoffLimit: unknown };
  assert.deepEqual(spec.selector, { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u' } });
  assert.deepEqual(spec.template.metadata, {
    labels: {
      'controller-uid': 'u',
      'job-name': 'j',
      'batch.kubernetes.io/controller-uid': 'u',
      'batch.kubernetes.io/job-name': 'j',
    },
  });
  assert.equal(spec.backoffLimit, 6);
});

it("a Secret keeps stringData as data; a NetworkPolicy's types follow its rules; a Namespace carries its name", () => {
  assert.deepEqual(defaulted('v1/Secret', { stringData: { a: 'b' }, data: { c: 'ZA==' } }), {
    type: 'Opaque',
    data: { a: 'Yg==', c: 'ZA==' },
  });
  const policy = defaulted('networking.k8s.io/v1/NetworkPolicy', {
    spec: { podSelector: {}, egress: [{ ports: [{ port: 53 }] }] },
  });
  assert.deepEqual(policy.spec, {
    podSelector: {},
    egress: [{ ports: [{ port: 53, protocol: 'TCP' }] }],
    policyTypes: ['Ingress', 'Egress'],
  });
  assert.deepEqual((defaulted('v1/Namespace', { metadata: { name: 'n' } }).metadata as Fields).labels, {
    'kubernetes.io/metadata.name': 'n',
  });
});

it('a custom resource gets the defaults of its schema, nested ones too, and each its own copy', () => {
  const schema = crdSchema({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        default: {},
        properties: {
          mode: { type: 'string', default: 'on' },
          rules: { type: 'array', items: { type: 'object', properties: { weight: { type: 'integer', default: 1 } } } },
          named: {
            type: 'object',
            additionalProperties: { type: 'object', properties: { x: { type: 'boolean', default: true } } },
          },
        },
      },
    },
  });
  const first: Fields = {};
  applyCrdDefaults(schema, first);
  assert.deepEqual(first, { spec: { mode: 'on' } });
  (first.spec as Fields).mode = 'off';
  const second: Fields = { spec: { rules: [{}, { weight: 2 }], named: { a: {} } } };
  applyCrdDefaults(schema, second);
  assert.deepEqual(second, { spec: { mode: 'on', rules: [{ weight: 1 }, { weight: 2 }], named: { a: { x: true } } } });
});
