// Pods and pod templates (upstream pkg/apis/core/validation/validation.go, ValidatePodSpec).
import type { Fields } from '../node.ts';
import { fieldsOf, isFields } from '../node.ts';
import { validateContainers } from './container.ts';
import { validateAnnotations, validateLabels } from './meta.ts';
import { dnsLabel, dnsSubdomain, ipAddress, qualifiedName } from './names.ts';
import { at, number, objects, type Report, text, texts } from './report.ts';
import { validateScheduling } from './scheduling.ts';
import { validateVolumes } from './volume.ts';

const dnsPolicies = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'];
const restartPolicies = ['Always', 'Never', 'OnFailure'];

export function validatePod(report: Report, pod: Fields): void {
  const spec = at(pod, 'spec');
  validatePodSpec(report, 'spec', spec, 'pod');
  if (objects(spec, 'ephemeralContainers').length > 0) {
    report.forbidden('spec.ephemeralContainers', 'cannot be set on create');
  }
}

/** A pod template and its labels and annotations. */
export function validatePodTemplate(report: Report, path: string, template: Fields): void {
  const metadata = at(template, 'metadata');
  validateLabels(report, `${path}.metadata.labels`, metadata.labels);
  validateAnnotations(report, `${path}.metadata.annotations`, metadata.annotations);
  validatePodSpec(report, `${path}.spec`, at(template, 'spec'), 'template');
  if (objects(at(template, 'spec'), 'ephemeralContainers').length > 0) {
    report.forbidden(`${path}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template');
  }
}

function validatePodSpec(report: Report, path: string, spec: Fields, of: 'pod' | 'template'): void {
  const volumes = validateVolumes(report, `${path}.volumes`, spec);
  validateContainers(report, path, spec, { volumes, hostNetwork: spec.hostNetwork === true, of });
  report.oneOf(`${path}.restartPolicy`, spec.restartPolicy, restartPolicies, 'required');
  validateDns(report, path, spec);
  validateScheduling(report, path, spec);
  for (const [field, check] of [
    ['serviceAccountName', dnsSubdomain],
    ['nodeName', dnsSubdomain],
    ['hostname', dnsLabel],
    ['subdomain', dnsLabel],
    ['priorityClassName', dnsSubdomain],
    ['runtimeClassName', dnsSubdomain],
  ] as const) {
    const value = text(spec, field);
    if (value !== '') report.allInvalid(`${path}.${field}`, value, check(value));
  }
  const deadline = number(spec, 'activeDeadlineSeconds');
  if (deadline !== undefined && (deadline < 1 || deadline > 2147483647)) {
    report.invalid(`${path}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive');
  }
  report.notNegative(`${path}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds);
  objects(spec, 'imagePullSecrets').forEach((secret, index) => {
    if (text(secret, 'name') === '') report.required(`${path}.imagePullSecrets[${index}].name`);
  });
  objects(spec, 'hostAliases').forEach((alias, index) => {
    const ip = text(alias, 'ip');
    report.allInvalid(`${path}.hostAliases[${index}].ip`, ip, ipAddress(ip));
    for (const hostname of texts(alias, 'hostnames')) {
      report.allInvalid(`${path}.hostAliases[${index}].hostnames`, hostname, dnsSubdomain(hostname));
    }
  });
  objects(spec, 'readinessGates').forEach((gate, index) => {
    const type = text(gate, 'conditionType');
    report.allInvalid(`${path}.readinessGates[${index}].conditionType`, type, qualifiedName(type));
  });
  validateSecurityContext(report, `${path}.securityContext`, spec);
}

function validateDns(report: Report, path: string, spec: Fields): void {
  report.oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, dnsPolicies, 'required');
  const config = spec.dnsConfig;
  const nameservers = texts(fieldsOf(config), 'nameservers');
  if (spec.dnsPolicy === 'None') {
    if (!isFields(config)) report.required(`${path}.dnsConfig`, 'must provide `dnsConfig` when `dnsPolicy` is None');
    else if (nameservers.length === 0) {
      report.required(
        `${path}.dnsConfig.nameservers`,
        'must provide at least one DNS nameserver when `dnsPolicy` is None',
      );
    }
  }
  if (!isFields(config)) return;
  if (nameservers.length > 3)
    report.invalid(`${path}.dnsConfig.nameservers`, nameservers, 'must not have more than 3 nameservers');
  nameservers.forEach((nameserver, index) => {
    report.allInvalid(`${path}.dnsConfig.nameservers[${index}]`, nameserver, ipAddress(nameserver));
  });
  const searches = texts(config, 'searches');
  if (searches.length > 32)
    report.invalid(`${path}.dnsConfig.searches`, searches, 'must not have more than 32 search paths');
  searches.forEach((search, index) => {
    const name = search.replace(/\.$/, '').replaceAll('_', '-');
    if (name !== '') report.allInvalid(`${path}.dnsConfig.searches[${index}]`, search, dnsSubdomain(name));
  });
  objects(config, 'options').forEach((option, index) => {
    if (text(option, 'name') === '') report.required(`${path}.dnsConfig.options[${index}]`, 'must not be empty');
  });
}

function validateSecurityContext(report: Report, path: string, spec: Fields): void {
  const context = at(spec, 'securityContext');
  for (const field of ['runAsUser', 'runAsGroup', 'fsGroup']) {
    const id = number(context, field);
    if (id !== undefined && (id < 0 || id > 2147483647)) {
      report.invalid(`${path}.${field}`, id, 'must be between 0 and 2147483647, inclusive');
    }
  }
  const names = new Set<string>();
  objects(context, 'sysctls').forEach((sysctl, index) => {
    const name = text(sysctl, 'name');
    if (name === '') report.required(`${path}.sysctls[${index}].name`);
    else if (!/^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9*]([-_a-z0-9*]*[a-z0-9*])?$/i.test(name)) {
      report.invalid(
        `${path}.sysctls[${index}].name`,
        name,
        'must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
      );
    }
    if (names.has(name)) report.duplicate(`${path}.sysctls[${index}].name`, name);
    names.add(name);
  });
  if (spec.hostPID === true && spec.shareProcessNamespace === true) {
    report.invalid(`${path}.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled');
  }
}
