// Deployments, ReplicaSets, DaemonSets and StatefulSets (upstream pkg/apis/apps/validation/validation.go).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { isEmptySelector, selects, validateLabelSelector } from './meta.ts';
import { dns1035Label } from './names.ts';
import { validatePodTemplate } from './pod.ts';
import { at, immutable, number, objects, type Report, text } from './report.ts';

export function validateDeployment(report: Report, deployment: Fields): void {
  const spec = at(deployment, 'spec');
  report.notNegative('spec.replicas', spec.replicas);
  validateSelected(report, spec, 'deployment');
  const strategy = at(spec, 'strategy');
  report.oneOf('spec.strategy.type', strategy.type, ['Recreate', 'RollingUpdate'], 'required');
  if (strategy.type === 'Recreate' && isFields(strategy.rollingUpdate)) {
    report.forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'");
  } else if (strategy.type === 'RollingUpdate') {
    validateRolling(report, 'spec.strategy.rollingUpdate', at(strategy, 'rollingUpdate'));
  }
  validateCounts(report, spec);
  const deadline = number(spec, 'progressDeadlineSeconds');
  report.notNegative('spec.progressDeadlineSeconds', deadline);
  if (deadline !== undefined && deadline <= (number(spec, 'minReadySeconds') ?? 0)) {
    report.invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds');
  }
}

export function validateReplicaSet(report: Report, set: Fields): void {
  const spec = at(set, 'spec');
  report.notNegative('spec.replicas', spec.replicas);
  validateSelected(report, spec, 'replicaset');
  validateCounts(report, spec);
}

export function validateDaemonSet(report: Report, set: Fields): void {
  const spec = at(set, 'spec');
  validateSelected(report, spec, 'daemonset');
  validateCounts(report, spec);
  const strategy = at(spec, 'updateStrategy');
  report.oneOf('spec.updateStrategy.type', strategy.type, ['OnDelete', 'RollingUpdate'], 'required');
  if (strategy.type === 'RollingUpdate') {
    validateRolling(report, 'spec.updateStrategy.rollingUpdate', at(strategy, 'rollingUpdate'));
  }
}

export function validateStatefulSet(report: Report, set: Fields): void {
  const spec = at(set, 'spec');
  report.oneOf('spec.podManagementPolicy', spec.podManagementPolicy, ['OrderedReady', 'Parallel'], 'required');
  report.notNegative('spec.replicas', spec.replicas);
  validateSelected(report, spec, 'statefulset');
  validateCounts(report, spec);
  const strategy = at(spec, 'updateStrategy');
  report.oneOf('spec.updateStrategy.type', strategy.type, ['OnDelete', 'RollingUpdate'], 'required');
  if (strategy.type === 'OnDelete' && isFields(strategy.rollingUpdate)) {
    report.invalid(
      'spec.updateStrategy.rollingUpdate',
      strategy.rollingUpdate,
      "only allowed for updateStrategy 'RollingUpdate'",
    );
  }
  report.notNegative('spec.updateStrategy.rollingUpdate.partition', at(strategy, 'rollingUpdate').partition);
  report.notNegative('spec.ordinals.start', at(spec, 'ordinals').start);
  const service = text(spec, 'serviceName');
  if (service !== '') report.allInvalid('spec.serviceName', service, dns1035Label(service));
  if (objects(spec, 'volumeClaimTemplates').length > 0) {
    report.forbidden('spec.volumeClaimTemplates', 'PersistentVolumeClaims are not served by this cluster');
  }
}

/** The selector of a workload, its template, and that the one selects the other. */
function validateSelected(report: Report, spec: Fields, kind: string): void {
  const { selector } = spec;
  const template = at(spec, 'template');
  const labels = at(template, 'metadata', 'labels');
  if (isFields(selector)) validateLabelSelector(report, 'spec.selector', selector);
  else report.required('spec.selector');
  if (isFields(selector) && isEmptySelector(selector))
    report.invalid('spec.selector', selector, `empty selector is invalid for ${kind}`);
  // No selector at all selects nothing, so that upstream says this too.
  else if (!isFields(selector) || !selects(selector, labels))
    report.invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`');
  validatePodTemplate(report, 'spec.template', template);
  const podSpec = at(template, 'spec');
  report.oneOf('spec.template.spec.restartPolicy', podSpec.restartPolicy, ['Always']);
  if (podSpec.activeDeadlineSeconds !== undefined) {
    const names: Readonly<Record<string, string>> = { daemonset: 'DaemonSet', statefulset: 'StatefulSet' };
    report.forbidden(
      'spec.template.spec.activeDeadlineSeconds',
      `activeDeadlineSeconds in ${names[kind] ?? 'ReplicaSet'} is not Supported`,
    );
  }
}

function validateCounts(report: Report, spec: Fields): void {
  report.notNegative('spec.minReadySeconds', spec.minReadySeconds);
  report.notNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit);
}

function validateRolling(report: Report, path: string, rolling: Fields): void {
  for (const field of ['maxUnavailable', 'maxSurge']) validateIntOrPercent(report, `${path}.${field}`, rolling[field]);
  const isNone = (value: unknown): boolean => value === 0 || value === '0%';
  if (isNone(rolling.maxUnavailable) && isNone(rolling.maxSurge)) {
    report.invalid(`${path}.maxUnavailable`, rolling.maxUnavailable, 'may not be 0 when `maxSurge` is 0');
  }
  const share = /^(\d+)%$/.exec(String(rolling.maxUnavailable))?.[1];
  if (Number(share) > 100)
    report.invalid(`${path}.maxUnavailable`, rolling.maxUnavailable, 'must not be greater than 100%');
}

function validateIntOrPercent(report: Report, path: string, value: unknown): void {
  if (typeof value === 'number') report.notNegative(path, value);
  else if (typeof value === 'string' && !/^[0-9]+%$/.test(value)) {
    report.invalid(
      path,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
  }
}

/** The selector of a workload is part of its identity. */
export function validateSelectorUpdate(report: Report, object: Fields, old: Fields): void {
  const selector = at(object, 'spec').selector;
  if (!sameValue(selector, at(old, 'spec').selector)) report.invalid('spec.selector', selector, immutable);
}

const mutableOfStatefulSet = new Set([
  ...['replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit'],
  ...['persistentVolumeClaimRetentionPolicy', 'minReadySeconds'],
]);

export function validateStatefulSetUpdate(report: Report, object: Fields, old: Fields): void {
  const [spec, before] = [at(object, 'spec'), at(old, 'spec')];
  const changed = Object.keys({ ...spec, ...before }).some(
    (field) => !mutableOfStatefulSet.has(field) && !sameValue(spec[field], before[field]),
  );
  if (changed) {
    report.forbidden(
      'spec',
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
  }
}
