// Volumes of pods: those that this cluster's kubelet mounts.
import { parseQuantity } from '../../../k8s/quantity.ts';
import type { Fields } from '../node.ts';
import { fieldsOf, isFields } from '../node.ts';
import { validateRelativePath } from './container.ts';
import { validateFieldRef, validateResourceRef } from './env.ts';
import { configKey, dnsLabel } from './names.ts';
import { number, objects, type Report, text } from './report.ts';

const served = new Set(['emptyDir', 'hostPath', 'configMap', 'secret', 'projected', 'downwardAPI']);
const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];

/** Checks the volumes and returns their names, for the mounts to refer to. */
export function validateVolumes(report: Report, path: string, spec: Fields): ReadonlySet<string> {
  const names = new Set<string>();
  objects(spec, 'volumes').forEach((volume, index) => {
    const place = `${path}[${index}]`;
    const name = text(volume, 'name');
    if (name === '') report.required(`${place}.name`);
    else report.allInvalid(`${place}.name`, name, dnsLabel(name));
    if (names.has(name)) report.duplicate(`${place}.name`, name);
    names.add(name);
    validateSource(report, place, volume);
  });
  return names;
}

function validateSource(report: Report, path: string, volume: Fields): void {
  const kinds = Object.keys(volume).filter((field) => field !== 'name' && isFields(volume[field]));
  if (kinds.length === 0) report.required(path, 'must specify a volume type');
  kinds.slice(1).forEach((kind) => {
    report.forbidden(`${path}.${kind}`, 'may not specify more than 1 volume type');
  });
  const [kind] = kinds;
  if (kind === undefined) return;
  const source = fieldsOf(volume[kind]);
  const place = `${path}.${kind}`;
  if (kind === 'persistentVolumeClaim' || kind === 'ephemeral') {
    report.forbidden(place, 'PersistentVolumeClaims are not served by this cluster');
  } else if (!served.has(kind)) {
    report.forbidden(place, `${kind} volumes are not served by this cluster; use ${[...served].join(', ')}`);
  } else {
    validateKind(report, place, kind, source);
  }
}

function validateKind(report: Report, path: string, kind: string, source: Fields): void {
  validateMode(report, `${path}.defaultMode`, source);
  switch (kind) {
    case 'emptyDir': {
      const limit = source.sizeLimit;
      const size = limit === undefined ? undefined : parseQuantity(String(limit));
      if (size !== undefined && size < 0n)
        report.forbidden(`${path}.sizeLimit`, 'SizeLimit field must be a valid resource quantity');
      report.oneOf(`${path}.medium`, source.medium, ['', 'Memory']);
      break;
    }
    case 'hostPath':
      if (text(source, 'path') === '') report.required(`${path}.path`);
      if (text(source, 'path').split('/').includes('..'))
        report.invalid(`${path}.path`, source.path, "must not contain '..'");
      report.oneOf(`${path}.type`, source.type, hostPathTypes);
      break;
    case 'configMap':
      if (text(source, 'name') === '') report.required(`${path}.name`);
      validateItems(report, `${path}.items`, source);
      break;
    case 'secret':
      if (text(source, 'secretName') === '') report.required(`${path}.secretName`);
      validateItems(report, `${path}.items`, source);
      break;
    case 'downwardAPI':
      validateDownward(report, `${path}.items`, source);
      break;
    case 'projected':
      validateProjected(report, `${path}.sources`, source);
      break;
  }
}

function validateMode(report: Report, path: string, source: Fields, field = 'defaultMode'): void {
  const mode = number(source, field);
  if (mode !== undefined && (mode < 0 || mode > 0o777)) {
    report.invalid(path, mode, 'must be a number between 0 and 0777 (octal), both inclusive');
  }
}

function validateItems(report: Report, path: string, source: Fields): void {
  objects(source, 'items').forEach((item, index) => {
    const place = `${path}[${index}]`;
    const key = text(item, 'key');
    if (key === '') report.required(`${place}.key`);
    else report.allInvalid(`${place}.key`, key, configKey(key));
    if (text(item, 'path') === '') report.required(`${place}.path`);
    validateRelativePath(report, `${place}.path`, text(item, 'path'));
    validateMode(report, `${place}.mode`, item, 'mode');
  });
}

const downwardFields = [
  'metadata.annotations',
  'metadata.labels',
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
];

function validateDownward(report: Report, path: string, source: Fields): void {
  objects(source, 'items').forEach((item, index) => {
    const place = `${path}[${index}]`;
    if (text(item, 'path') === '') report.required(`${place}.path`);
    validateRelativePath(report, `${place}.path`, text(item, 'path'));
    if (isFields(item.fieldRef)) {
      validateFieldRef(report, `${place}.fieldRef`, item.fieldRef, downwardFields);
      if (isFields(item.resourceFieldRef))
        report.invalid(place, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously');
    } else if (isFields(item.resourceFieldRef)) {
      if (text(item.resourceFieldRef, 'containerName') === '')
        report.required(`${place}.resourceFieldRef.containerName`);
      validateResourceRef(report, `${place}.resourceFieldRef`, item.resourceFieldRef);
    } else {
      report.required(place, 'one of fieldRef and resourceFieldRef is required');
    }
    validateMode(report, `${place}.mode`, item, 'mode');
  });
}

const projections = ['secret', 'configMap', 'downwardAPI', 'serviceAccountToken'];

function validateProjected(report: Report, path: string, source: Fields): void {
  objects(source, 'sources').forEach((projection, index) => {
    const place = `${path}[${index}]`;
    const given = Object.keys(projection).filter((kind) => isFields(projection[kind]));
    if (given.length > 1) report.forbidden(place, 'may not specify more than 1 volume type per source');
    const [kind] = given;
    if (kind === undefined) return;
    const part = fieldsOf(projection[kind]);
    if (!projections.includes(kind)) report.forbidden(`${place}.${kind}`, `${kind} is not served by this cluster`);
    if (kind === 'secret' || kind === 'configMap') {
      if (text(part, 'name') === '') report.required(`${place}.${kind}.name`);
      validateItems(report, `${place}.${kind}.items`, part);
    }
    if (kind === 'downwardAPI') validateDownward(report, `${place}.${kind}.items`, part);
    if (kind === 'serviceAccountToken') {
      const seconds = number(part, 'expirationSeconds') ?? 3600;
      if (seconds < 600)
        report.invalid(
          `${place}.${kind}.expirationSeconds`,
          seconds,
          'may not specify a duration less than 10 minutes',
        );
      if (seconds > 2 ** 32)
        report.invalid(
          `${place}.${kind}.expirationSeconds`,
          seconds,
          'may not specify a duration larger than 2^32 seconds',
        );
      if (text(part, 'path') === '') report.required(`${place}.${kind}.path`);
      validateRelativePath(report, `${place}.${kind}.path`, text(part, 'path'));
    }
  });
}
