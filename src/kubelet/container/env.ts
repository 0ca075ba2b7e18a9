// The environment of a container. Pure. Rules: kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables) and
// pkg/kubelet/envvars.
import type { ConfigMap, Container, EnvVarSource, Pod, Secret, Service } from '../../k8s/types.generated.ts';
import { expand } from './expand.ts';
import { type FieldSource, fieldValue, resourceValue } from './fields.ts';

/** A container cannot be configured from its spec as things are: it waits with this reason. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly reason = 'CreateContainerConfigError';
}

export interface EnvironmentInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly fields: FieldSource;
  /** undefined where the object does not exist. */
  readonly configMap: (name: string) => ConfigMap | undefined;
  readonly secret: (name: string) => Secret | undefined;
  /** All Services of the pod's namespace, and default/kubernetes. */
  readonly services: readonly Service[];
}

const validName = /^[^=\0-\x20\x7f-\uffff]+$/;

/** The variables in order; throws a ConfigError where one refers to what is not there. */
export function environment(input: EnvironmentInput): { key: string; value: string }[] {
  const { pod, container } = input;
  const result = new Map<string, string>();
  const services = serviceVariables(pod, input.services);
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? fromConfigMap(input, configMapRef.name ?? '', configMapRef.optional)
      : secretRef
        ? fromSecret(input, secretRef.name ?? '', secretRef.optional)
        : {};
    for (const [key, value] of Object.entries(data)) if (validName.test(prefix + key)) result.set(prefix + key, value);
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom !== undefined) {
      const found = fromSource(input, valueFrom);
      if (found !== undefined) result.set(name, found);
    } else
      result.set(
        name,
        expand(value ?? '', (other) => result.get(other) ?? services.get(other)),
      );
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return [...result].map(([key, value]) => ({ key, value }));
}

function fromConfigMap(input: EnvironmentInput, name: string, optional?: boolean): Record<string, string> {
  const found = input.configMap(name);
  if (found === undefined && optional !== true) throw new ConfigError(`configmap "${name}" not found`);
  return found?.data ?? {};
}

function fromSecret(input: EnvironmentInput, name: string, optional?: boolean): Record<string, string> {
  const found = input.secret(name);
  if (found === undefined && optional !== true) throw new ConfigError(`secret "${name}" not found`);
  return Object.fromEntries(Object.entries(found?.data ?? {}).map(([key, value]) => [key, decodeText(value)]));
}

const decodeText = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');

function fromSource(input: EnvironmentInput, source: EnvVarSource): string | undefined {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = source;
  if (fieldRef !== undefined) return fieldValue(input.pod, fieldRef.fieldPath, input.fields);
  if (resourceFieldRef !== undefined) return resourceValue(input.pod, input.container, resourceFieldRef, input.fields);
  if (configMapKeyRef !== undefined) {
    const { name = '', key, optional } = configMapKeyRef;
    const value = fromConfigMap(input, name, optional)[key];
    if (value === undefined && optional !== true)
      throw new ConfigError(`couldn't find key ${key} in ConfigMap ${input.pod.metadata.namespace}/${name}`);
    return value;
  }
  if (secretKeyRef !== undefined) {
    const { name = '', key, optional } = secretKeyRef;
    const value = fromSecret(input, name, optional)[key];
    if (value === undefined && optional !== true)
      throw new ConfigError(`couldn't find key ${key} in Secret ${input.pod.metadata.namespace}/${name}`);
    return value;
  }
  throw new ConfigError('an environment variable has a source that this kubelet does not offer');
}

/** The variables of Services: those of the pod's namespace where it enables them, and always those of the API server. */
function serviceVariables(pod: Pod, services: readonly Service[]): Map<string, string> {
  const result = new Map<string, string>();
  const { namespace } = pod.metadata;
  const master = services.find(({ metadata }) => metadata.namespace === 'default' && metadata.name === 'kubernetes');
  const linked =
    pod.spec.enableServiceLinks === false ? [] : services.filter((s) => s.metadata.namespace === namespace);
  for (const service of [...(master === undefined ? [] : [master]), ...linked])
    for (const [name, value] of variablesOf(service)) result.set(name, value);
  return result;
}

function variablesOf(service: Service): [string, string][] {
  const ip = service.spec?.clusterIP;
  const ports = service.spec?.ports ?? [];
  const [first] = ports;
  if (ip === undefined || ip === '' || ip === 'None' || first === undefined) return [];
  const prefix = (service.metadata.name ?? '').toUpperCase().replaceAll('-', '_');
  const host = ip.includes(':') ? `[${ip}]` : ip;
  const urlOf = (port: (typeof ports)[number]): string =>
    `${(port.protocol ?? 'TCP').toLowerCase()}://${host}:${port.port}`;
  const result: [string, string][] = [
    [`${prefix}_SERVICE_HOST`, ip],
    [`${prefix}_SERVICE_PORT`, String(first.port)],
  ];
  for (const port of ports)
    if (port.name)
      result.push([`${prefix}_SERVICE_PORT_${port.name.toUpperCase().replaceAll('-', '_')}`, String(port.port)]);
  result.push([`${prefix}_PORT`, urlOf(first)]);
  for (const port of ports) {
    const protocol = port.protocol ?? 'TCP';
    const each = `${prefix}_PORT_${port.port}_${protocol}`;
    result.push([each, urlOf(port)], [`${each}_PROTO`, protocol.toLowerCase()]);
    result.push([`${each}_PORT`, String(port.port)], [`${each}_ADDR`, ip]);
  }
  return result;
}
