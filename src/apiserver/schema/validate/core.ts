// ConfigMaps, Secrets, Nodes, Events, Leases and what else is small (upstream pkg/apis/core/validation/validation.go).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { cidrText, configKey } from './names.ts';
import { at, immutable, number, objects, type Report, text, texts } from './report.ts';
import { validateTaints } from './scheduling.ts';

/** How much data a ConfigMap or a Secret may hold, in bytes. */
const dataLimit = 1024 * 1024;

export function validateConfigMap(report: Report, configMap: Fields): void {
  let size = 0;
  const data = at(configMap, 'data');
  for (const [key, value] of Object.entries(data)) {
    report.allInvalid(`data[${key}]`, key, configKey(key));
    size += Buffer.byteLength(String(value));
  }
  for (const [key, value] of Object.entries(at(configMap, 'binaryData'))) {
    report.allInvalid(`binaryData[${key}]`, key, configKey(key));
    if (key in data) report.invalid(`data[${key}]`, key, 'duplicate of key present in binaryData');
    size += Buffer.byteLength(String(value), 'base64');
  }
  if (size > dataLimit) report.tooLong('', dataLimit);
}

/** Keys that a Secret of some type must have. */
const requiredKeys: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

export function validateSecret(report: Report, secret: Fields): void {
  let size = 0;
  const data = at(secret, 'data');
  for (const [key, value] of Object.entries(data)) {
    report.allInvalid(`data[${key}]`, key, configKey(key));
    size += Buffer.byteLength(String(value), 'base64');
  }
  if (size > dataLimit) report.tooLong('data', dataLimit);
  const type = text(secret, 'type');
  for (const key of requiredKeys[type] ?? []) if (data[key] === undefined) report.required(`data[${key}]`);
  if (type === 'kubernetes.io/dockerconfigjson' && typeof data['.dockerconfigjson'] === 'string') {
    try {
      JSON.parse(Buffer.from(data['.dockerconfigjson'], 'base64').toString('utf8'));
    } catch (error) {
      report.invalid(
        'data[.dockerconfigjson]',
        '<secret contents redacted>',
        error instanceof Error ? 'invalid JSON' : '',
      );
    }
  }
  if (type === 'kubernetes.io/basic-auth' && data.username === undefined && data.password === undefined) {
    report.required('data[username]');
    report.required('data[password]');
  }
  if (type === 'kubernetes.io/service-account-token') {
    const annotation = 'kubernetes.io/service-account.name';
    if (!at(secret, 'metadata', 'annotations')[annotation]) report.required(`metadata.annotations[${annotation}]`);
  }
}

/** An object marked immutable stays so, and its data with it. */
export function validateImmutable(report: Report, object: Fields, old: Fields): void {
  if (old.immutable !== true) return;
  const detail = 'field is immutable when `immutable` is set';
  if (object.immutable !== true) report.forbidden('immutable', detail);
  for (const field of ['data', 'binaryData']) {
    if (!sameValue(at(object, field), at(old, field))) report.forbidden(field, detail);
  }
}

export function validateSecretUpdate(report: Report, secret: Fields, old: Fields): void {
  if (secret.type !== old.type) report.invalid('type', secret.type, immutable);
  validateImmutable(report, secret, old);
}

export function validateNode(report: Report, node: Fields): void {
  const spec = at(node, 'spec');
  validateTaints(report, 'spec.taints', spec);
  texts(spec, 'podCIDRs').forEach((cidr, index) => {
    report.allInvalid(`spec.podCIDRs[${index}]`, cidr, cidrText(cidr));
  });
}

export function validateNodeUpdate(report: Report, node: Fields, old: Fields): void {
  const [cidrs, before] = [texts(at(node, 'spec'), 'podCIDRs'), texts(at(old, 'spec'), 'podCIDRs')];
  if (before.length > 0 && !sameValue(cidrs, before)) {
    report.forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid');
  }
  const [provider, oldProvider] = [text(at(node, 'spec'), 'providerID'), text(at(old, 'spec'), 'providerID')];
  if (oldProvider !== '' && provider !== oldProvider) {
    report.forbidden('spec.providerID', 'node updates may not change providerID except from "" to valid');
  }
}

export function validateEvent(report: Report, event: Fields): void {
  const involved = at(event, event.apiVersion === 'v1' ? 'involvedObject' : 'regarding');
  const path = event.apiVersion === 'v1' ? 'involvedObject.namespace' : 'regarding.namespace';
  const own = text(at(event, 'metadata'), 'namespace');
  const about = text(involved, 'namespace');
  if (about === '' ? own !== 'default' && own !== 'kube-system' && own !== '' : about !== own) {
    report.invalid(path, about, 'does not match event.namespace');
  }
}

export function validateLease(report: Report, lease: Fields): void {
  const spec = at(lease, 'spec');
  const seconds = number(spec, 'leaseDurationSeconds');
  if (seconds !== undefined && seconds <= 0)
    report.invalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0');
  report.notNegative('spec.leaseTransitions', spec.leaseTransitions);
}

export function validateControllerRevision(report: Report, revision: Fields): void {
  if (revision.data === undefined) report.required('data', 'data is mandatory');
  report.notNegative('revision', revision.revision);
}

export function validateControllerRevisionUpdate(report: Report, revision: Fields, old: Fields): void {
  if (!sameValue(revision.data, old.data)) report.invalid('data', revision.data, immutable);
}

export function validateServiceAccount(report: Report, account: Fields): void {
  objects(account, 'imagePullSecrets').forEach((secret, index) => {
    if (text(secret, 'name') === '') report.required(`imagePullSecrets[${index}].name`);
  });
}

export function validateBinding(report: Report, binding: Fields): void {
  const target = at(binding, 'target');
  report.oneOf('target.kind', target.kind, ['Node', '<empty>']);
  if (text(target, 'name') === '') report.required('target.name');
}

export function validateScale(report: Report, scale: Fields): void {
  if (isFields(scale.spec)) report.notNegative('spec.replicas', scale.spec.replicas);
}
