// What may change of a pod that exists (upstream ValidatePodUpdate).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { at, number, objects, type Report } from './report.ts';

const message =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

export function validatePodUpdate(report: Report, pod: Fields, old: Fields): void {
  const [spec, before] = [at(pod, 'spec'), at(old, 'spec')];
  for (const list of ['containers', 'initContainers']) {
    const [now, then] = [objects(spec, list).length, objects(before, list).length];
    if (now !== then) {
      report.forbidden(`spec.${list}`, 'pod updates may not add or remove containers');
      return;
    }
  }
  const [deadline, oldDeadline] = [number(spec, 'activeDeadlineSeconds'), number(before, 'activeDeadlineSeconds')];
  if (oldDeadline !== undefined && deadline === undefined) {
    report.invalid('spec.activeDeadlineSeconds', deadline, 'must not update from a positive integer to nil value');
  } else if (oldDeadline !== undefined && deadline !== undefined && deadline > oldDeadline) {
    report.invalid('spec.activeDeadlineSeconds', deadline, 'must be less than or equal to previous value');
  }
  validateTolerations(report, spec, before);
  if (!sameValue(comparable(spec, before), before)) report.forbidden('spec', message);
}

function validateTolerations(report: Report, spec: Fields, before: Fields): void {
  const now = objects(spec, 'tolerations');
  for (const old of objects(before, 'tolerations')) {
    const { tolerationSeconds: _, ...identity } = old;
    const kept = now.some(({ tolerationSeconds: __, ...rest }) => sameValue(rest, identity));
    if (!kept) {
      report.forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds');
      return;
    }
  }
}

/** The new spec with the old values of what may change. */
function comparable(spec: Fields, before: Fields): Fields {
  const result: Fields = { ...spec };
  for (const field of ['activeDeadlineSeconds', 'tolerations']) restore(result, before, field);
  for (const list of ['containers', 'initContainers']) {
    if (!Array.isArray(spec[list])) continue;
    const old = objects(before, list);
    result[list] = spec[list].map((container: unknown, index) => {
      const image = old[index]?.image;
      return isFields(container) && image !== undefined ? { ...container, image } : container;
    });
  }
  const grace = number(before, 'terminationGracePeriodSeconds') ?? 0;
  if (grace < 0 && spec.terminationGracePeriodSeconds === 1) restore(result, before, 'terminationGracePeriodSeconds');
  // A gate may be lifted, and where the pod may run be narrowed, before it is placed.
  if (objects(before, 'schedulingGates').length > 0) {
    for (const field of ['schedulingGates', 'nodeSelector', 'affinity']) restore(result, before, field);
  }
  return result;
}

function restore(result: Fields, before: Fields, field: string): void {
  if (before[field] === undefined) delete result[field];
  else result[field] = before[field];
}
