import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Deployment } from '../../k8s/types.generated.ts';
import {
  limitsOf,
  proportionalScale,
  rollingStep,
  type StoredReplicaSet,
  surplusHistory,
  wantedOf,
} from './rollout.ts';

const deployment = (replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd' },
  spec: {
    replicas,
    selector: {},
    template: {},
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
  },
});
const set = (name: string, replicas: number, available = replicas, annotations = {}): StoredReplicaSet => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z', annotations },
  spec: { replicas, selector: {} },
  status: { replicas, availableReplicas: available },
});

test('percentages are rounded in favour of progress and of availability', () => {
  assert.deepEqual(limitsOf(deployment(10, '25%', '25%')), { maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(limitsOf(deployment(1, '0%', '0%')), { maxSurge: 0, maxUnavailable: 1 });
});

test('a rolling update ends with the new set alone, and never leaves its limits', () => {
  const limits = fc.constantFrom<number | string>(0, 1, 2, '25%', '50%', '100%');
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), limits, limits, (replicas, maxSurge, maxUnavailable) => {
      const wanted = deployment(replicas, maxSurge, maxUnavailable);
      const bounds = limitsOf(wanted);
      let [newest, old] = [set('new', 0), set('old', replicas)];
      for (let step = 0; step < 100 && (wantedOf(newest) !== replicas || wantedOf(old) !== 0); step++) {
        const available = (newest.status?.availableReplicas ?? 0) + (old.status?.availableReplicas ?? 0);
        for (const { replicaSet, replicas: next } of rollingStep(wanted, newest, [old])) {
          if (replicaSet === newest) newest = set('new', next, newest.status?.availableReplicas);
          else old = set('old', next, Math.min(next, old.status?.availableReplicas ?? 0));
        }
        assert.ok(wantedOf(newest) + wantedOf(old) <= replicas + bounds.maxSurge);
        const now = (newest.status?.availableReplicas ?? 0) + (old.status?.availableReplicas ?? 0);
        assert.ok(now >= Math.min(available, replicas - bounds.maxUnavailable));
        // Then the pods that were started become available.
        newest = set('new', wantedOf(newest));
      }
      assert.deepEqual([wantedOf(newest), wantedOf(old)], [replicas, 0]);
    }),
  );
});

test('scaling in the middle of a rollout shares the difference in proportion', () => {
  const noted = { 'deployment.kubernetes.io/max-replicas': '13', 'deployment.kubernetes.io/desired-replicas': '10' };
  const scales = proportionalScale(deployment(20, 3, 2), set('new', 5, 5, noted), [set('old', 8, 8, noted)]);
  assert.equal(
    scales.reduce((sum, { replicas }) => sum + replicas, 0),
    23,
  );
  assert.ok(scales.every(({ replicas, replicaSet }) => replicas > wantedOf(replicaSet)));
  assert.deepEqual(
    proportionalScale(deployment(4, 1, 1), set('only', 2), []).map(({ replicas }) => replicas),
    [4],
  );
});

test('of the history, the oldest revisions at rest go', () => {
  const old = [3, 1, 2].map((revision) =>
    set(`r${revision}`, 0, 0, { 'deployment.kubernetes.io/revision': String(revision) }),
  );
  const wanted = deployment(1, 1, 0);
  wanted.spec.revisionHistoryLimit = 1;
  assert.deepEqual(
    surplusHistory(wanted, old).map(({ metadata }) => metadata.name),
    ['r1', 'r2'],
  );
});
