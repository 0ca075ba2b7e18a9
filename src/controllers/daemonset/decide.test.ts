import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonSet, Node, PodSpec, Taint } from '../../k8s/types.generated.ts';
import type { StoredPod } from '../owned-pods.ts';
import { belongsOn, decideDaemons, nodeOf, templateForNode } from './decide.ts';

const daemonSet = (spec: Partial<PodSpec> = {}, more: Partial<DaemonSet['spec']> = {}): DaemonSet => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name: 'd', generation: 1 },
  spec: { selector: {}, template: { spec: { containers: [], ...spec } }, ...more },
});
const node = (name: string, taints: Taint[] = []): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: { name } },
  spec: { taints },
});
const pod = (nodeName: string, { ready = true, revision = 'new' } = {}): StoredPod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `d-${nodeName}-${revision}`,
    uid: `${nodeName}-${revision}`,
    resourceVersion: '1',
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { 'controller-revision-hash': revision },
  },
  spec: { containers: [], nodeName },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});
const nodes = [node('a'), node('b'), node('c')];
const decide = (what: DaemonSet, pods: StoredPod[]) =>
  decideDaemons({ daemonSet: what, nodes, pods, revision: 'new', now: 0 });

test('each node that selector, affinity and taints allow gets one pod', () => {
  assert.deepEqual(decide(daemonSet(), [pod('b')]).create, ['a', 'c']);
  assert.deepEqual(decide(daemonSet({ nodeSelector: { name: 'a' } }), []).create, ['a']);
  const { status } = decide(daemonSet({ nodeSelector: { name: 'a' } }), [pod('a'), pod('b')]);
  assert.deepEqual([status.desiredNumberScheduled, status.numberMisscheduled], [1, 1]);
});

test('lost nodes keep their pods, tainted ones get none, NoExecute removes them', () => {
  const lost = [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }];
  assert.deepEqual(belongsOn(daemonSet(), node('a', lost)), { run: true, stay: true });
  assert.deepEqual(belongsOn(daemonSet(), node('a', [{ key: 'x', effect: 'NoSchedule' }])), { run: false, stay: true });
  assert.deepEqual(belongsOn(daemonSet(), node('a', [{ key: 'x', effect: 'NoExecute' }])), { run: false, stay: false });
});

test('an update takes one pod at a time, and those that do not serve at once', () => {
  const old = { revision: 'old' };
  assert.equal(decide(daemonSet(), [pod('a', old), pod('b', old), pod('c', old)]).remove.length, 1);
  assert.equal(decide(daemonSet(), [pod('a', { ready: false }), pod('b', old), pod('c', old)]).remove.length, 0);
  const broken = decide(daemonSet(), [pod('a', { revision: 'old', ready: false }), pod('b', old), pod('c', old)]);
  assert.deepEqual(broken.remove.map(nodeOf), ['a']);
  assert.equal(decide(daemonSet({}, { updateStrategy: { type: 'OnDelete' } }), [pod('a', old)]).remove.length, 0);
});

test('with maxSurge the new pod comes first and the old one goes when it serves', () => {
  const surging = daemonSet({}, { updateStrategy: { rollingUpdate: { maxSurge: 1 } } });
  const old = ['a', 'b', 'c'].map((name) => pod(name, { revision: 'old' }));
  const first = decide(surging, old);
  assert.deepEqual([first.create.length, first.remove.length], [1, 0]);
  assert.deepEqual(decide(surging, [...old, pod('a')]).remove.map(nodeOf), ['a']);
});

test('a template for a node admits that node alone, within each of its own terms', () => {
  const terms = [
    { matchExpressions: [{ key: 'name', operator: 'Exists' }] },
    { matchExpressions: [{ key: 'x', operator: 'Exists' }] },
  ];
  const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
  const made = templateForNode(daemonSet({ affinity }).spec.template, 'a', 'r').spec?.affinity?.nodeAffinity;
  const narrowed = made?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  assert.equal(narrowed.length, 2);
  assert.ok(narrowed.every(({ matchFields }) => matchFields?.[0]?.values?.[0] === 'a'));
});
