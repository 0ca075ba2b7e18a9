// Where a pod may run: node selectors, affinity, tolerations, spreading.
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { validateLabelSelector, validateLabels } from './meta.ts';
import { labelValue, qualifiedName } from './names.ts';
import { at, number, objects, type Report, text, texts } from './report.ts';

export function validateScheduling(report: Report, path: string, spec: Fields): void {
  validateLabels(report, `${path}.nodeSelector`, spec.nodeSelector);
  objects(spec, 'tolerations').forEach((toleration, index) => {
    validateToleration(report, `${path}.tolerations[${index}]`, toleration);
  });
  const affinity = at(spec, 'affinity');
  validateNodeAffinity(report, `${path}.affinity.nodeAffinity`, at(affinity, 'nodeAffinity'));
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    validatePodAffinity(report, `${path}.affinity.${kind}`, at(affinity, kind));
  }
  objects(spec, 'topologySpreadConstraints').forEach((constraint, index) => {
    const place = `${path}.topologySpreadConstraints[${index}]`;
    const skew = number(constraint, 'maxSkew') ?? 0;
    if (skew <= 0) report.invalid(`${place}.maxSkew`, skew, 'must be greater than zero');
    if (text(constraint, 'topologyKey') === '') report.required(`${place}.topologyKey`, 'can not be empty');
    report.oneOf(
      `${place}.whenUnsatisfiable`,
      constraint.whenUnsatisfiable,
      ['DoNotSchedule', 'ScheduleAnyway'],
      'required',
    );
    validateLabelSelector(report, `${place}.labelSelector`, constraint.labelSelector);
  });
  const gates = new Set<string>();
  objects(spec, 'schedulingGates').forEach((gate, index) => {
    const name = text(gate, 'name');
    report.allInvalid(`${path}.schedulingGates[${index}]`, name, qualifiedName(name));
    if (gates.has(name)) report.duplicate(`${path}.schedulingGates[${index}]`, name);
    gates.add(name);
  });
}

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

function validateToleration(report: Report, path: string, toleration: Fields): void {
  const key = text(toleration, 'key');
  const operator = text(toleration, 'operator');
  if (key !== '') report.allInvalid(`${path}.key`, key, qualifiedName(key));
  else if (operator !== 'Exists')
    report.invalid(
      `${path}.operator`,
      operator,
      'operator must be Exists when `key` is empty, which means "match all values and all keys"',
    );
  const effect = text(toleration, 'effect');
  if (toleration.tolerationSeconds !== undefined && effect !== 'NoExecute') {
    report.invalid(`${path}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
  }
  const value = text(toleration, 'value');
  if (operator === 'Exists') {
    if (value !== '') report.invalid(`${path}.operator`, toleration, "value must be empty when `operator` is 'Exists'");
  } else if (operator === 'Equal' || operator === '') {
    report.allInvalid(`${path}.operator`, value, labelValue(value));
  } else {
    report.notSupported(`${path}.operator`, operator, ['Equal', 'Exists']);
  }
  report.oneOf(`${path}.effect`, effect, effects);
}

export function validateTaints(report: Report, path: string, node: Fields): void {
  const seen = new Set<string>();
  objects(node, 'taints').forEach((taint, index) => {
    const key = text(taint, 'key');
    report.allInvalid(`${path}[${index}].key`, key, qualifiedName(key));
    report.allInvalid(`${path}[${index}].value`, text(taint, 'value'), labelValue(text(taint, 'value')));
    report.oneOf(`${path}[${index}].effect`, taint.effect, effects, 'required');
    const identity = `${key}:${text(taint, 'effect')}`;
    if (seen.has(identity)) report.duplicate(`${path}[${index}]`, taint);
    seen.add(identity);
  });
}

function validateNodeAffinity(report: Report, path: string, affinity: Fields): void {
  const required = affinity.requiredDuringSchedulingIgnoredDuringExecution;
  if (isFields(required)) {
    const place = `${path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
    const terms = objects(required, 'nodeSelectorTerms');
    if (terms.length === 0) report.required(place, 'must have at least one node selector term');
    terms.forEach((term, index) => {
      validateNodeTerm(report, `${place}[${index}]`, term);
    });
  }
  objects(affinity, 'preferredDuringSchedulingIgnoredDuringExecution').forEach((preferred, index) => {
    const place = `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    validateWeight(report, place, preferred);
    validateNodeTerm(report, `${place}.preference`, at(preferred, 'preference'));
  });
}

function validateWeight(report: Report, path: string, preferred: Fields): void {
  const weight = number(preferred, 'weight') ?? 0;
  if (weight <= 0 || weight > 100) report.invalid(`${path}.weight`, weight, 'must be in the range 1-100');
}

function validateNodeTerm(report: Report, path: string, term: Fields): void {
  for (const list of ['matchExpressions', 'matchFields']) {
    objects(term, list).forEach((expression, index) => {
      const place = `${path}.${list}[${index}]`;
      const values = texts(expression, 'values');
      const key = text(expression, 'key');
      switch (text(expression, 'operator')) {
        case 'In':
        case 'NotIn':
          if (values.length === 0)
            report.required(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
          break;
        case 'Exists':
        case 'DoesNotExist':
          if (values.length > 0)
            report.forbidden(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
          break;
        case 'Gt':
        case 'Lt':
          if (values.length !== 1)
            report.required(`${place}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
          break;
        default:
          report.invalid(`${place}.operator`, expression.operator ?? '', 'not a valid selector operator');
      }
      if (list === 'matchExpressions') report.allInvalid(`${place}.key`, key, qualifiedName(key));
      else if (key !== 'metadata.name') report.notSupported(`${place}.key`, key, ['metadata.name']);
    });
  }
}

function validatePodAffinity(report: Report, path: string, affinity: Fields): void {
  objects(affinity, 'requiredDuringSchedulingIgnoredDuringExecution').forEach((term, index) => {
    validatePodTerm(report, `${path}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`, term);
  });
  objects(affinity, 'preferredDuringSchedulingIgnoredDuringExecution').forEach((preferred, index) => {
    const place = `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    validateWeight(report, place, preferred);
    validatePodTerm(report, `${place}.podAffinityTerm`, at(preferred, 'podAffinityTerm'));
  });
}

function validatePodTerm(report: Report, path: string, term: Fields): void {
  validateLabelSelector(report, `${path}.labelSelector`, term.labelSelector);
  validateLabelSelector(report, `${path}.namespaceSelector`, term.namespaceSelector);
  const key = text(term, 'topologyKey');
  if (key === '') report.required(`${path}.topologyKey`, 'can not be empty');
  else report.allInvalid(`${path}.topologyKey`, key, qualifiedName(key));
}
