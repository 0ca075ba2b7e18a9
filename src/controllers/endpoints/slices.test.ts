import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Stored } from '../../k8s/object.ts';
import type { EndpointSlice, Node, Pod, Service } from '../../k8s/types.generated.ts';
import { decideSubsets } from './legacy.ts';
import { decideSlices } from './slices.ts';

const service = (spec: Partial<NonNullable<Service['spec']>> = {}): Stored<Service> => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 's', namespace: 'n', uid: 's', resourceVersion: '1', creationTimestamp: '' },
  spec: { selector: { app: 'a' }, ports: [{ port: 80, targetPort: 'web' }], ipFamilies: ['IPv4'], ...spec },
});
const pod = (index: number, { ready = true, going = false, port = 8080, phase = 'Running' } = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `p${index}`,
    namespace: 'n',
    uid: `u${index}`,
    labels: { app: 'a' },
    ...(going && { deletionTimestamp: 'x' }),
  },
  spec: { nodeName: 'n1', containers: [{ name: 'c', ports: [{ name: 'web', containerPort: port }] }] },
  status: {
    phase,
    podIP: `10.0.${index >> 8}.${index & 255}`,
    podIPs: [{ ip: `10.0.${index >> 8}.${index & 255}` }, { ip: `fd00::${index.toString(16)}` }],
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
  },
});
const none = () => undefined;
/** Applies a decision as the API server would. */
function apply(slices: readonly Stored<EndpointSlice>[], { create, update, remove }: ReturnType<typeof decideSlices>) {
  const next = new Map(slices.map((slice) => [slice.metadata.uid, slice]));
  for (const slice of update) next.set(slice.metadata.uid, slice);
  for (const slice of remove) next.delete(slice.metadata.uid);
  for (const slice of create) {
    const uid = `slice${serial++}`;
    next.set(uid, {
      ...slice,
      metadata: { ...slice.metadata, name: uid, uid, resourceVersion: '1', creationTimestamp: '' },
    });
  }
  return [...next.values()];
}
let serial = 0;

test('conditions are those of KEP-1672', () => {
  const table = [
    [{ ready: true }, { ready: true, serving: true, terminating: false }],
    [{ ready: false }, { ready: false, serving: false, terminating: false }],
    [
      { ready: true, going: true },
      { ready: false, serving: true, terminating: true },
    ],
    [
      { ready: false, going: true },
      { ready: false, serving: false, terminating: true },
    ],
  ] as const;
  for (const [state, conditions] of table)
    assert.deepEqual(
      decideSlices(service(), [pod(1, state)], none, []).create[0]?.endpoints?.[0]?.conditions,
      conditions,
    );
  const all = decideSlices(service({ publishNotReadyAddresses: true }), [pod(1, { ready: false })], none, []);
  assert.equal(all.create[0]?.endpoints?.[0]?.conditions?.ready, true);
  assert.equal(decideSlices(service(), [pod(1, { phase: 'Failed' })], none, []).create[0]?.endpoints?.length, 0);
});

test('pods whose named port differs are in slices of their own', () => {
  const { create } = decideSlices(service(), [pod(1), pod(2, { port: 9090 })], none, []);
  assert.deepEqual(create.map(({ ports }) => ports?.[0]?.port).sort(), [8080, 9090]);
});

test('each family has its slices', () => {
  const { create } = decideSlices(service({ ipFamilies: ['IPv4', 'IPv6'] }), [pod(1)], none, []);
  assert.deepEqual(
    create.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses[0]]),
    [
      ['IPv4', '10.0.0.1'],
      ['IPv6', 'fd00::1'],
    ],
  );
});

test('the empty slice of a new Service is taken over by its first endpoints', () => {
  const slices = apply([], decideSlices(service(), [], none, []));
  const next = decideSlices(service(), [pod(1)], none, slices);
  assert.deepEqual([next.create.length, next.update.length, next.remove.length], [0, 1, 0]);
});

test('whatever comes and goes, every pod is in exactly one slice of at most 100, and a second look changes nothing', () => {
  const step = fc.uniqueArray(fc.integer({ min: 1, max: 250 }), { maxLength: 230 });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 4 }), (steps) => {
      let slices: Stored<EndpointSlice>[] = [];
      for (const indexes of steps) {
        const pods = indexes.map((index) => pod(index, { port: index % 7 === 0 ? 9090 : 8080 }));
        slices = apply(slices, decideSlices(service(), pods, none, slices));
        const listed = slices.flatMap(({ endpoints = [] }) => endpoints.map(({ targetRef }) => targetRef?.name));
        assert.deepEqual([...listed].sort(), pods.map(({ metadata }) => metadata.name).sort());
        assert.ok(slices.every(({ endpoints = [] }) => endpoints.length <= 100));
        const again = decideSlices(service(), pods, none, slices);
        assert.deepEqual([again.create, again.update, again.remove], [[], [], []]);
      }
    }),
    { numRuns: 20 },
  );
});

test('Endpoints list ready and not ready addresses by their ports', () => {
  assert.deepEqual(
    decideSubsets(service(), [pod(2), pod(1), pod(3, { ready: false }), pod(4, { going: true })]).map((subset) => [
      subset.addresses?.map(({ ip }) => ip),
      subset.notReadyAddresses?.map(({ ip }) => ip),
      subset.ports,
    ]),
    [[['10.0.0.1', '10.0.0.2'], ['10.0.0.3'], [{ protocol: 'TCP', port: 8080 }]]],
  );
});

test('trafficDistribution writes for whom a ready endpoint is near: its zone, and its node where that is preferred', () => {
  const node: Node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'z1' } },
    spec: {},
  };
  const forZones = [{ name: 'z1' }];
  const hints = (trafficDistribution: string, nodeOf: () => Node | undefined, state = {}) =>
    decideSlices(service({ trafficDistribution }), [pod(1, state)], nodeOf, []).create[0]?.endpoints?.[0]?.hints;
  const inZone = () => node;
  assert.deepEqual(hints('PreferSameZone', inZone), { forZones });
  assert.deepEqual(hints('PreferClose', inZone), { forZones });
  assert.deepEqual(hints('PreferSameNode', inZone), { forZones, forNodes: [{ name: 'n1' }] });
  assert.deepEqual(hints('PreferSameNode', none), { forNodes: [{ name: 'n1' }] });
  assert.equal(hints('PreferSameZone', none), undefined);
  assert.equal(hints('PreferSameZone', inZone, { ready: false }), undefined);
  const plain = decideSlices(service(), [pod(1)], inZone, []).create[0]?.endpoints?.[0];
  assert.deepEqual([plain?.hints, plain?.zone], [undefined, 'z1']);
});
