// Containers of pods and pod templates (upstream pkg/apis/core/validation/validation.go, validateContainers).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { validateEnv } from './env.ts';
import { dnsLabel, portName, portNumber } from './names.ts';
import { validateHandler, validateProbe } from './probe.ts';
import { at, number, objects, type Report, text } from './report.ts';
import { validateResources } from './resources.ts';

/** What containers must know of the pod around them. */
export interface PodContext {
  readonly volumes: ReadonlySet<string>;
  readonly hostNetwork: boolean;
  readonly of: 'pod' | 'template';
}

const pullPolicies = ['Always', 'IfNotPresent', 'Never'];
export const protocols = ['SCTP', 'TCP', 'UDP'];

/** All containers of a pod; names are unique over init containers and containers. */
export function validateContainers(report: Report, path: string, spec: Fields, pod: PodContext): void {
  const containers = objects(spec, 'containers');
  if (containers.length === 0) report.required(`${path}.containers`);
  const names = new Set<string>();
  const initContainers = objects(spec, 'initContainers');
  for (const [list, items] of [
    ['initContainers', initContainers],
    ['containers', containers],
  ] as const) {
    items.forEach((container, index) => {
      const place = `${path}.${list}[${index}]`;
      const name = text(container, 'name');
      if (names.has(name)) report.duplicate(`${place}.name`, name);
      names.add(name);
      validateContainer(report, place, container, pod, list === 'initContainers');
    });
  }
  validateHostPorts(report, `${path}.containers`, containers);
}

function validateContainer(report: Report, path: string, container: Fields, pod: PodContext, init: boolean): void {
  const name = text(container, 'name');
  if (name === '') report.required(`${path}.name`);
  else report.allInvalid(`${path}.name`, name, dnsLabel(name));
  const image = text(container, 'image');
  if (image === '') report.required(`${path}.image`);
  else if (image !== image.trim())
    report.invalid(`${path}.image`, image, 'must not have leading or trailing whitespace');
  report.oneOf(`${path}.imagePullPolicy`, container.imagePullPolicy, pullPolicies, 'required');
  report.oneOf(
    `${path}.terminationMessagePolicy`,
    container.terminationMessagePolicy,
    ['FallbackToLogsOnError', 'File'],
    'required',
  );
  validatePorts(report, `${path}.ports`, container, pod);
  validateEnv(report, path, container);
  validateMounts(report, `${path}.volumeMounts`, container, pod.volumes);
  validateResources(report, `${path}.resources`, at(container, 'resources'));
  validateRestartPolicy(report, path, container, init);
  validateSecurityContext(report, `${path}.securityContext`, at(container, 'securityContext'));
  const sidecar = init && container.restartPolicy === 'Always';
  for (const kind of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = container[kind];
    if (!isFields(probe)) continue;
    if (init && !sidecar)
      report.forbidden(`${path}.${kind}`, 'may not be set for init containers without restartPolicy=Always');
    else validateProbe(report, `${path}.${kind}`, probe, kind !== 'readinessProbe');
  }
  if (isFields(container.lifecycle)) {
    if (init && !sidecar)
      report.forbidden(`${path}.lifecycle`, 'may not be set for init containers without restartPolicy=Always');
    for (const hook of ['postStart', 'preStop']) {
      const handler = container.lifecycle[hook];
      if (isFields(handler)) validateHandler(report, `${path}.lifecycle.${hook}`, handler);
    }
  }
}

function validateRestartPolicy(report: Report, path: string, container: Fields, init: boolean): void {
  if (container.restartPolicy === undefined) return;
  if (init) report.oneOf(`${path}.restartPolicy`, container.restartPolicy, ['Always']);
  else report.forbidden(`${path}.restartPolicy`, 'may not be set for non-init containers');
}

function validatePorts(report: Report, path: string, container: Fields, pod: PodContext): void {
  const names = new Set<string>();
  objects(container, 'ports').forEach((port, index) => {
    const place = `${path}[${index}]`;
    const name = text(port, 'name');
    if (name !== '') {
      const faults = portName(name);
      report.allInvalid(`${place}.name`, name, faults);
      if (names.has(name)) report.duplicate(`${place}.name`, name);
      names.add(name);
    }
    const own = number(port, 'containerPort') ?? 0;
    if (own === 0) report.required(`${place}.containerPort`);
    else report.allInvalid(`${place}.containerPort`, own, portNumber(own));
    const host = number(port, 'hostPort') ?? 0;
    if (host !== 0) report.allInvalid(`${place}.hostPort`, host, portNumber(host));
    // In a template it may be open: it is filled in when the pod is made.
    const given = pod.of === 'pod' || host !== 0;
    if (pod.hostNetwork && given && host !== own) {
      report.invalid(`${place}.containerPort`, own, 'must match `hostPort` when `hostNetwork` is true');
    }
    report.oneOf(`${place}.protocol`, port.protocol, protocols, 'required');
  });
}

/** Two containers of one pod cannot have one port of the node. */
function validateHostPorts(report: Report, path: string, containers: readonly Fields[]): void {
  const taken = new Set<string>();
  containers.forEach((container, index) => {
    objects(container, 'ports').forEach((port, position) => {
      const host = number(port, 'hostPort') ?? 0;
      if (host === 0) return;
      const key = `${text(port, 'protocol')}/${text(port, 'hostIP')}/${host}`;
      if (taken.has(key)) report.duplicate(`${path}[${index}].ports[${position}].hostPort`, key);
      taken.add(key);
    });
  });
}

function validateMounts(report: Report, path: string, container: Fields, volumes: ReadonlySet<string>): void {
  const places = new Set<string>();
  objects(container, 'volumeMounts').forEach((mount, index) => {
    const place = `${path}[${index}]`;
    const name = text(mount, 'name');
    if (name === '') report.required(`${place}.name`);
    if (!volumes.has(name)) report.notFound(`${place}.name`, name);
    const mountPath = text(mount, 'mountPath');
    if (mountPath === '') report.required(`${place}.mountPath`);
    else if (places.has(mountPath)) report.invalid(`${place}.mountPath`, mountPath, 'must be unique');
    places.add(mountPath);
    const subPath = text(mount, 'subPath');
    validateRelativePath(report, `${place}.subPath`, subPath);
    const expression = text(mount, 'subPathExpr');
    if (subPath !== '' && expression !== '')
      report.invalid(`${place}.subPathExpr`, expression, 'subPathExpr and subPath are mutually exclusive');
    validateRelativePath(report, `${place}.subPathExpr`, expression);
    report.oneOf(`${place}.mountPropagation`, mount.mountPropagation, ['Bidirectional', 'HostToContainer', 'None']);
  });
}

/** A path below a volume: relative and without a way up. */
export function validateRelativePath(report: Report, path: string, value: string): void {
  if (value.startsWith('/')) report.invalid(path, value, 'must be a relative path');
  if (value.split('/').includes('..')) report.invalid(path, value, "must not contain '..'");
}

function validateSecurityContext(report: Report, path: string, context: Fields): void {
  for (const field of ['runAsUser', 'runAsGroup']) {
    const id = number(context, field);
    if (id !== undefined && (id < 0 || id > 2147483647)) {
      report.invalid(`${path}.${field}`, id, 'must be between 0 and 2147483647, inclusive');
    }
  }
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged === true) {
      report.invalid(path, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true');
    }
  }
}
