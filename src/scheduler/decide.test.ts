import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Node, Pod, PodSpec, Taint } from '../k8s/types.generated.ts';
import { placePod } from './decide.ts';
import { ClusterState } from './state.ts';

const node = (name: string, labels: Record<string, string> = {}, taints: Taint[] = [], cpu = '4'): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
  spec: { taints },
  status: { allocatable: { cpu, memory: '8Gi', pods: '110' } },
});
let uids = 0;
const pod = (spec: Partial<PodSpec> = {}, labels: Record<string, string> = {}, owner?: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `p${uids}`,
    namespace: 'default',
    uid: `u${uids++}`,
    labels,
    ...(owner !== undefined && {
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true }],
    }),
  },
  spec: { containers: [{ name: 'c', image: 'a' }], ...spec },
});
const asking = (cpu: string): Partial<PodSpec> => ({
  containers: [{ name: 'c', image: 'a', resources: { requests: { cpu } } }],
});

function stateOf(nodes: readonly Node[], pods: readonly Pod[] = []): ClusterState {
  const state = new ClusterState();
  for (const each of nodes) state.setNode(each);
  for (const each of pods) state.setPod(each);
  return state;
}
const place = (what: Pod, state: ClusterState): string => {
  const placement = placePod(
    what,
    state.snapshot(() => ({})),
  );
  return placement.kind === 'placed' ? placement.node : placement.message;
};
/** Places one pod after the other and gives the nodes. */
const placeAll = (pods: readonly Pod[], state: ClusterState): string[] =>
  pods.map((each) => {
    const name = place(each, state);
    state.setPod({ ...each, spec: { ...(each.spec ?? { containers: [] }), nodeName: name } });
    return name;
  });
const three = [node('n1'), node('n2'), node('n3')];

test('three replicas of one owner go to three nodes, whatever ran there before', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('n1', 'n2', 'n3'), { maxLength: 12 }), (before) => {
      const state = stateOf(
        three,
        before.map((nodeName) => pod({ nodeName })),
      );
      assert.equal(new Set(placeAll([pod({}, {}, 'rs'), pod({}, {}, 'rs'), pod({}, {}, 'rs')], state)).size, 3);
    }),
  );
});

test('a pod never goes where its request does not fit', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 100, max: 3000 }), { maxLength: 20 }), (requests) => {
      const state = stateOf(three);
      placeAll(
        requests.map((milli) => pod(asking(`${milli}m`))).filter((each) => !place(each, state).startsWith('0/')),
        state,
      );
      for (const { requested, allocatable } of state.snapshot(() => ({})).nodes)
        assert.ok((requested.cpu ?? 0) <= (allocatable.cpu ?? 0));
    }),
  );
});

test('the message counts the reasons as upstream does', () => {
  assert.equal(
    place(pod(asking('5')), stateOf(three)),
    '0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.',
  );
  const taints = [{ key: 'node-role.kubernetes.io/x', effect: 'NoSchedule' }];
  assert.match(
    place(pod({ nodeSelector: { disk: 'ssd' } }), stateOf([node('n1', {}, taints), node('n2'), node('n3')])),
    /^0\/3 nodes are available: 1 node\(s\) had untolerated taint \{node-role.kubernetes.io\/x: \}, 2 node\(s\) didn't match Pod's node affinity\/selector\. preemption: /,
  );
  assert.equal(place(pod(), stateOf([])), 'no nodes available to schedule pods');
});

test('host ports keep pods apart', () => {
  const web = () => pod({ containers: [{ name: 'c', image: 'a', ports: [{ containerPort: 80, hostPort: 80 }] }] });
  const state = stateOf(three);
  assert.equal(new Set(placeAll([web(), web(), web()], state)).size, 3);
  assert.match(place(web(), state), /3 node\(s\) didn't have free ports for the requested pod ports/);
});

test('required affinity follows, required anti-affinity keeps away, in both directions', () => {
  const term = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'db' } } };
  const db = pod({ nodeName: 'n2' }, { app: 'db' });
  const near = { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
  const far = { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
  assert.equal(place(pod(near), stateOf(three, [db])), 'n2');
  assert.match(place(pod(near), stateOf(three)), /3 node\(s\) didn't match pod affinity rules/);
  assert.notEqual(place(pod(far), stateOf(three, [db])), 'n2');
  const hermit = pod({ ...far, nodeName: 'n1' });
  const only = stateOf([node('n1')], [hermit]);
  assert.match(place(pod({}, { app: 'db' }), only), /1 node\(s\) didn't satisfy existing pods anti-affinity rules/);
});

test('topology spread holds the skew', () => {
  const zones = [node('a1', { zone: 'a' }), node('a2', { zone: 'a' }), node('b1', { zone: 'b' })];
  const spread = {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'w' } },
      },
    ],
  };
  const placed = placeAll(
    Array.from({ length: 4 }, () => pod(spread, { app: 'w' })),
    stateOf(zones),
  );
  assert.equal(placed.filter((name) => name === 'b1').length, 2);
});

test('a removed or ended pod gives back what it took', () => {
  const state = stateOf([node('n1')]);
  const big = pod({ ...asking('4'), nodeName: 'n1' });
  state.setPod(big);
  assert.match(place(pod(asking('1')), state), /Insufficient cpu/);
  state.setPod({ ...big, status: { phase: 'Succeeded' } });
  assert.equal(place(pod(asking('1')), state), 'n1');
});
