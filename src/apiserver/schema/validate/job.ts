// Jobs (upstream pkg/apis/batch/validation/validation.go).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { selects, validateLabelSelector } from './meta.ts';
import { validatePodTemplate } from './pod.ts';
import { at, immutable, number, type Report } from './report.ts';

const counts = [
  ...['parallelism', 'completions', 'activeDeadlineSeconds', 'backoffLimit', 'ttlSecondsAfterFinished'],
  ...['backoffLimitPerIndex', 'maxFailedIndexes'],
];

export function validateJob(report: Report, job: Fields): void {
  const spec = at(job, 'spec');
  for (const field of counts) report.notNegative(`spec.${field}`, spec[field]);
  report.oneOf('spec.completionMode', spec.completionMode, ['Indexed', 'NonIndexed']);
  if (spec.completionMode === 'Indexed' && number(spec, 'completions') === undefined) {
    report.required('spec.completions', 'when completion mode is Indexed');
  }
  const template = at(spec, 'template');
  const labels = at(template, 'metadata', 'labels');
  if (isFields(spec.selector)) {
    validateLabelSelector(report, 'spec.selector', spec.selector);
    if (!selects(spec.selector, labels)) {
      report.invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`');
    }
  } else {
    report.required('spec.selector');
  }
  validatePodTemplate(report, 'spec.template', template);
  const { restartPolicy } = at(template, 'spec');
  // Always is the default of pods: whoever sees it here has most likely left the field out.
  if (restartPolicy === 'Always')
    report.required('spec.template.spec.restartPolicy', 'valid values: "OnFailure", "Never"');
  else report.oneOf('spec.template.spec.restartPolicy', restartPolicy, ['OnFailure', 'Never']);
}

const fixed = ['selector', 'completionMode', 'podFailurePolicy', 'successPolicy', 'backoffLimitPerIndex', 'managedBy'];

export function validateJobUpdate(report: Report, job: Fields, old: Fields): void {
  const [spec, before] = [at(job, 'spec'), at(old, 'spec')];
  const indexed = spec.completionMode === 'Indexed' && spec.completions === spec.parallelism;
  if (!indexed && !sameValue(spec.completions, before.completions))
    report.invalid('spec.completions', spec.completions, immutable);
  for (const field of fixed) {
    if (!sameValue(spec[field], before[field])) report.invalid(`spec.${field}`, spec[field], immutable);
  }
  if (!sameValue(schedulingApart(spec, before), before.template))
    report.invalid('spec.template', spec.template, immutable);
}

/** Of a suspended Job, where its pods may run can still change: the template with the old one's placement. */
function schedulingApart(spec: Fields, before: Fields): unknown {
  if (before.suspend !== true) return spec.template;
  const template = at(spec, 'template');
  const podSpec = { ...at(template, 'spec') };
  const old = at(before, 'template', 'spec');
  for (const field of ['nodeSelector', 'affinity', 'tolerations', 'schedulingGates']) {
    if (old[field] === undefined) delete podSpec[field];
    else podSpec[field] = old[field];
  }
  const metadata = { ...at(template, 'metadata') };
  for (const field of ['labels', 'annotations']) {
    const value = at(before, 'template', 'metadata')[field];
    if (value === undefined) delete metadata[field];
    else metadata[field] = value;
  }
  return { ...template, metadata, spec: podSpec };
}
