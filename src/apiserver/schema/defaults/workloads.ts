// Defaults of Deployments, ReplicaSets, DaemonSets, StatefulSets and Jobs (upstream pkg/apis/{apps,batch}/v1/defaults.go).
import type { Fields } from '../node.ts';
import { defaultPodTemplate } from './pod.ts';
import { child, part, parts, preset, presetZero } from './set.ts';

export function defaultDeployment(deployment: Fields): void {
  const spec = child(deployment, 'spec');
  preset(spec, 'replicas', 1);
  const strategy = child(spec, 'strategy');
  presetZero(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = child(strategy, 'rollingUpdate');
    preset(rolling, 'maxUnavailable', '25%');
    preset(rolling, 'maxSurge', '25%');
  }
  preset(spec, 'revisionHistoryLimit', 10);
  preset(spec, 'progressDeadlineSeconds', 600);
  defaultPodTemplate(spec);
}

export function defaultReplicaSet(set: Fields): void {
  const spec = child(set, 'spec');
  preset(spec, 'replicas', 1);
  defaultPodTemplate(spec);
}

export function defaultDaemonSet(set: Fields): void {
  const spec = child(set, 'spec');
  const strategy = child(spec, 'updateStrategy');
  presetZero(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = child(strategy, 'rollingUpdate');
    preset(rolling, 'maxUnavailable', 1);
    preset(rolling, 'maxSurge', 0);
  }
  preset(spec, 'revisionHistoryLimit', 10);
  defaultPodTemplate(spec);
}

export function defaultStatefulSet(set: Fields): void {
  const spec = child(set, 'spec');
  presetZero(spec, 'podManagementPolicy', 'OrderedReady');
  const strategy = child(spec, 'updateStrategy');
  presetZero(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') preset(child(strategy, 'rollingUpdate'), 'partition', 0);
  const retention = child(spec, 'persistentVolumeClaimRetentionPolicy');
  presetZero(retention, 'whenDeleted', 'Retain');
  presetZero(retention, 'whenScaled', 'Retain');
  preset(spec, 'replicas', 1);
  preset(spec, 'revisionHistoryLimit', 10);
  defaultPodTemplate(spec);
}

export function defaultJob(job: Fields): void {
  const spec = child(job, 'spec');
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  preset(spec, 'parallelism', 1);
  preset(spec, 'backoffLimit', spec.backoffLimitPerIndex === undefined ? 6 : 2 ** 31 - 1);
  preset(spec, 'completionMode', 'NonIndexed');
  preset(spec, 'suspend', false);
  preset(spec, 'manualSelector', false);
  preset(spec, 'podReplacementPolicy', spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed');
  for (const rule of parts(part(spec, 'podFailurePolicy') ?? {}, 'rules')) {
    for (const condition of parts(rule, 'onPodConditions')) presetZero(condition, 'status', 'True');
  }
  defaultPodTemplate(spec);
  const labels = part(child(child(spec, 'template'), 'metadata'), 'labels');
  const metadata = child(job, 'metadata');
  if (labels && Object.keys(part(metadata, 'labels') ?? {}).length === 0) metadata.labels = { ...labels };
  generateJobSelector(spec, metadata);
}

/**
 * The selector of a Job is its own uid, in a label that its pods get too (upstream pkg/registry/batch/job/strategy.go
 * `generateSelector`). It is made when the uid is there, unless the user manages the selector.
 */
function generateJobSelector(spec: Fields, metadata: Fields): void {
  const { uid, name } = metadata;
  if (spec.manualSelector === true || typeof uid !== 'string' || uid === '') return;
  const labels = child(child(child(spec, 'template'), 'metadata'), 'labels');
  for (const prefix of ['', 'batch.kubernetes.io/']) {
    preset(labels, `${prefix}controller-uid`, uid);
    preset(labels, `${prefix}job-name`, name);
  }
  preset(child(child(spec, 'selector'), 'matchLabels'), 'batch.kubernetes.io/controller-uid', uid);
}
