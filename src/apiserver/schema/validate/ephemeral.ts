// Containers added to a pod that runs, for debugging (upstream ValidatePodEphemeralContainersUpdate).
import type { Fields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { dnsLabel } from './names.ts';
import { at, objects, type Report, text } from './report.ts';

const path = 'spec.ephemeralContainers';
/** What makes no sense in a container that comes later, is never restarted and gets no resources of its own. */
const refused = ['ports', 'lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe', 'resources', 'resizePolicy'];

/** Ephemeral containers may be added; those that are there stay as they are. */
export function validateEphemeralContainers(report: Report, pod: Fields, old: Fields): void {
  const spec = at(pod, 'spec');
  const [now, before] = [objects(spec, 'ephemeralContainers'), objects(at(old, 'spec'), 'ephemeralContainers')];
  for (const container of before) {
    const name = text(container, 'name');
    const same = now.find((other) => text(other, 'name') === name);
    if (same === undefined) report.forbidden(path, `existing ephemeral containers "${name}" may not be removed\n`);
    else if (!sameValue(same, container))
      report.forbidden(path, `existing ephemeral containers "${name}" may not be changed\n`);
  }
  const targets = new Set(objects(spec, 'containers').map((container) => text(container, 'name')));
  const names = new Set([...targets, ...objects(spec, 'initContainers').map((container) => text(container, 'name'))]);
  for (const [index, container] of now.entries()) validateOne(report, `${path}[${index}]`, container, names, targets);
}

function validateOne(
  report: Report,
  place: string,
  container: Fields,
  names: Set<string>,
  targets: ReadonlySet<string>,
): void {
  const name = text(container, 'name');
  if (name === '') report.required(`${place}.name`);
  else if (names.has(name)) report.duplicate(`${place}.name`, name);
  else report.allInvalid(`${place}.name`, name, dnsLabel(name));
  names.add(name);
  if (text(container, 'image') === '') report.required(`${place}.image`);
  const target = text(container, 'targetContainerName');
  if (target !== '' && !targets.has(target)) report.notFound(`${place}.targetContainerName`, target);
  for (const field of refused)
    if (isSet(container[field])) report.forbidden(`${place}.${field}`, 'cannot be set for an Ephemeral Container');
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && (typeof value !== 'object' || Object.keys(value).length > 0);
}
