import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod, Taint, Toleration } from '../../k8s/types.generated.ts';
import { evictionTime, lostConditions, taintsFor } from './health.ts';

const node = (ready: string | undefined, more: Partial<NonNullable<Node['spec']>> = {}): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n' },
  spec: more,
  status: { conditions: ready === undefined ? [] : [{ type: 'Ready', status: ready }] },
});
const namesOf = (taints: readonly Taint[]): string[] => taints.map(({ key, effect }) => `${key}:${effect}`);

test('taints follow the conditions and the cordon; those of others stay', () => {
  const own = { key: 'dedicated', value: 'x', effect: 'NoSchedule' };
  const lost = ['node.kubernetes.io/unreachable:NoSchedule', 'node.kubernetes.io/unreachable:NoExecute'];
  assert.deepEqual(namesOf(taintsFor(node('True', { taints: [own] }), 't')), ['dedicated:NoSchedule']);
  assert.deepEqual(namesOf(taintsFor(node('Unknown'), 't')), lost);
  assert.deepEqual(namesOf(taintsFor(node(undefined), 't')), [
    'node.kubernetes.io/not-ready:NoSchedule',
    'node.kubernetes.io/not-ready:NoExecute',
  ]);
  assert.deepEqual(namesOf(taintsFor(node('True', { unschedulable: true }), 't')), [
    'node.kubernetes.io/unschedulable:NoSchedule',
  ]);
  const tainted = node('Unknown', { taints: taintsFor(node('Unknown'), 'first') });
  assert.deepEqual(
    taintsFor(tainted, 'second').map(({ timeAdded }) => timeAdded),
    ['first', 'first'],
  );
});

test('a lost node keeps its last heartbeat and becomes Unknown once', () => {
  const lost = lostConditions(node('True'), 't1');
  assert.deepEqual(
    lost.map(({ type, status }) => `${type}=${status}`),
    ['Ready=Unknown', 'MemoryPressure=Unknown', 'DiskPressure=Unknown', 'PIDPressure=Unknown'],
  );
  assert.equal(lost[0]?.reason, 'NodeStatusUnknown');
  assert.deepEqual(lostConditions({ ...node('True'), status: { conditions: lost } }, 't2'), lost);
});

test('a pod leaves at once, after its shortest toleration, or never', () => {
  const taint = { key: 'k', effect: 'NoExecute', timeAdded: '2026-01-01T00:00:00Z' };
  const pod = (...tolerations: Toleration[]): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {},
    spec: { containers: [], tolerations },
  });
  const exists = { key: 'k', operator: 'Exists' };
  assert.equal(evictionTime(pod(), [taint]), 0);
  assert.equal(evictionTime(pod(exists), [taint]), undefined);
  assert.equal(
    evictionTime(pod({ ...exists, tolerationSeconds: 300 }, { ...exists, tolerationSeconds: 20 }), [taint]),
    Date.parse('2026-01-01T00:00:20Z'),
  );
  assert.equal(evictionTime(pod(), [{ ...taint, effect: 'NoSchedule' }]), undefined);
});
