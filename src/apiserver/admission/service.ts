// What the server fills into a Service: its families, cluster addresses and node ports (kubernetes, registry/core/service).
import type { Service, ServiceSpec } from '../../k8s/types.generated.ts';
import { type ApiObject, typed } from '../object.ts';
import { type FieldError, invalid } from '../schema/errors.ts';
import { AllocationError, type ServiceAddresses } from './service-addresses.ts';
import { fillFamilies, isHeadless } from './service-families.ts';

const hasNodePorts = (spec: ServiceSpec): boolean =>
  spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
const canHaveNodePorts = (spec: ServiceSpec): boolean => spec.type === 'NodePort' || spec.type === 'LoadBalancer';
const needsHealthPort = (spec: ServiceSpec): boolean =>
  spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';

/** Keeps clusterIP and clusterIPs saying the same, whichever of them the client wrote. */
function alignAddresses(spec: ServiceSpec, old: ServiceSpec | undefined): void {
  if (old !== undefined && spec.clusterIP !== old.clusterIP && same(spec.clusterIPs, old.clusterIPs)) {
    if (spec.clusterIP) spec.clusterIPs = [spec.clusterIP, ...(spec.clusterIPs ?? []).slice(1)];
    else delete spec.clusterIPs;
  } else if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  else if (!spec.clusterIP && spec.clusterIPs?.[0]) spec.clusterIP = spec.clusterIPs[0];
}

const same = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  (a ?? []).join() === (b ?? []).join();

/** Fills in what the user leaves open, before validation: what the old Service had, and the families. */
export function prepareService(object: ApiObject, before: ApiObject | undefined, addresses: ServiceAddresses): void {
  const { spec, metadata } = typed<Service>(object);
  const old = before === undefined ? undefined : typed<Service>(before).spec;
  if (old !== undefined) {
    keepAllocated(spec, old);
    dropOfType(spec, old);
  }
  alignAddresses(spec, old);
  // The load balancer takes its time to go; its address is no longer the Service's.
  if (spec.type !== 'LoadBalancer' && old?.type === 'LoadBalancer')
    object.status = { ...object.status, loadBalancer: {} };
  if (spec.type === 'ExternalName') {
    if (old !== undefined && old.type !== 'ExternalName') dropAddresses(spec, old);
    return;
  }
  const faults = fillFamilies(spec, old?.type === 'ExternalName' ? undefined : old, addresses.families);
  if (faults.length > 0) refuse(metadata.name ?? '', faults);
}

/** A client that replaces a Service need not repeat what was allocated to it. */
function keepAllocated(spec: ServiceSpec, old: ServiceSpec): void {
  if (spec.type !== 'ExternalName' && old.type !== 'ExternalName') {
    if (!spec.clusterIP && !spec.clusterIPs?.length) {
      if (old.clusterIP !== undefined) spec.clusterIP = old.clusterIP;
      if (old.clusterIPs !== undefined) spec.clusterIPs = [...old.clusterIPs];
    }
    if (!spec.ipFamilies?.length && old.ipFamilies !== undefined) spec.ipFamilies = [...old.ipFamilies];
  }
  if (hasNodePorts(spec) && canHaveNodePorts(old)) keepNodePorts(spec, old);
  if (needsHealthPort(spec) && !spec.healthCheckNodePort && old.healthCheckNodePort)
    spec.healthCheckNodePort = old.healthCheckNodePort;
}

/** Ports are the same by their names, as upstream; a node port that the user has moved to another port stays there. */
function keepNodePorts(spec: ServiceSpec, old: ServiceSpec): void {
  const given = new Set((spec.ports ?? []).map(({ nodePort }) => nodePort ?? 0));
  for (const port of spec.ports ?? []) {
    const before = old.ports?.find(({ name = '' }) => name === (port.name ?? ''))?.nodePort;
    if (!port.nodePort && before && !given.has(before)) port.nodePort = before;
  }
}

const hasTrafficPolicy = (spec: ServiceSpec): boolean =>
  canHaveNodePorts(spec) || (spec.type === 'ClusterIP' && (spec.externalIPs ?? []).length > 0);

/** Takes away what the new type has not, where the user left it as it was (upstream's dropTypeDependentFields). */
function dropOfType(spec: ServiceSpec, old: ServiceSpec): void {
  if (!canHaveNodePorts(spec) && canHaveNodePorts(old)) dropNodePorts(spec, old);
  if (!needsHealthPort(spec) && needsHealthPort(old) && spec.healthCheckNodePort === old.healthCheckNodePort)
    delete spec.healthCheckNodePort;
  if (!hasTrafficPolicy(spec) && hasTrafficPolicy(old) && spec.externalTrafficPolicy === old.externalTrafficPolicy)
    delete spec.externalTrafficPolicy;
  if (spec.type === 'LoadBalancer' || old.type !== 'LoadBalancer') return;
  if (spec.allocateLoadBalancerNodePorts === old.allocateLoadBalancerNodePorts)
    delete spec.allocateLoadBalancerNodePorts;
  if (spec.loadBalancerClass === old.loadBalancerClass) delete spec.loadBalancerClass;
}

/** A Service that becomes an ExternalName gives its addresses back, unless the user names others. */
function dropAddresses(spec: ServiceSpec, old: ServiceSpec): void {
  if (same(spec.clusterIPs, old.clusterIPs)) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
  }
  if (same(spec.ipFamilies, old.ipFamilies)) delete spec.ipFamilies;
  if (spec.ipFamilyPolicy === old.ipFamilyPolicy) delete spec.ipFamilyPolicy;
}

function dropNodePorts(spec: ServiceSpec, old: ServiceSpec): void {
  for (const port of spec.ports ?? []) {
    if (old.ports?.some((one) => one.port === port.port && one.nodePort === port.nodePort)) delete port.nodePort;
  }
}

function refuse(name: string, errors: readonly FieldError[]): never {
  throw invalid({ group: '', kind: 'Service' }, name, errors);
}

/** Gives the Service its addresses and node ports, after validation. Throws 422 where one cannot be had. */
export function allocateService(object: ApiObject, before: ApiObject | undefined, addresses: ServiceAddresses): void {
  const { spec, metadata } = typed<Service>(object);
  const old = before === undefined ? undefined : typed<Service>(before).spec;
  const name = metadata.name ?? '';
  if (spec.type !== 'ExternalName') allocateAddresses(spec, old, name, addresses);
  allocatePorts(spec, old, name, addresses);
}

function allocateAddresses(
  spec: ServiceSpec,
  old: ServiceSpec | undefined,
  name: string,
  addresses: ServiceAddresses,
): void {
  if (isHeadless(spec)) {
    spec.clusterIP = 'None';
    spec.clusterIPs = ['None'];
    return;
  }
  const mine = new Set(old?.clusterIPs ?? []);
  const given = (spec.clusterIPs ?? []).filter((ip) => ip !== '');
  const result: string[] = [];
  for (const [index, family] of (spec.ipFamilies ?? []).entries()) {
    const wanted = given[index];
    try {
      if (wanted === undefined) result.push(addresses.freeAddress(family === 'IPv6' ? 'IPv6' : 'IPv4'));
      else {
        if (!mine.has(wanted)) addresses.checkAddress(wanted);
        result.push(wanted);
      }
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      refuse(name, [{ path: 'spec.clusterIPs', type: 'Invalid', value: given, detail: error.message }]);
    }
  }
  spec.clusterIPs = result;
  if (result[0] !== undefined) spec.clusterIP = result[0];
}

function allocatePorts(
  spec: ServiceSpec,
  old: ServiceSpec | undefined,
  name: string,
  addresses: ServiceAddresses,
): void {
  const mine = new Set((old?.ports ?? []).map((port) => port.nodePort ?? 0));
  // TCP and UDP of one number may share a node port within a Service.
  const taken = new Set((spec.ports ?? []).map((port) => port.nodePort ?? 0).filter((port) => port !== 0));
  const chosen = new Map<string, number>();
  const guarded = (path: string, value: number, choose: () => number): number => {
    try {
      return choose();
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      return refuse(name, [{ path, type: 'Invalid', value, detail: error.message }]);
    }
  };
  for (const [index, port] of (spec.ports ?? []).entries()) {
    const wanted = port.nodePort ?? 0;
    const path = `spec.ports[${index}].nodePort`;
    if (wanted !== 0 && canHaveNodePorts(spec)) {
      guarded(path, wanted, () => {
        if (!mine.has(wanted)) addresses.checkPort(wanted);
        return wanted;
      });
    } else if (wanted === 0 && hasNodePorts(spec)) {
      const sibling = chosen.get(`${port.port} ${port.protocol === 'TCP' ? 'UDP' : 'TCP'}`);
      port.nodePort = sibling ?? guarded(path, 0, () => addresses.freePort(taken));
      taken.add(port.nodePort);
      chosen.set(`${port.port} ${port.protocol ?? 'TCP'}`, port.nodePort);
    }
  }
  if (!needsHealthPort(spec)) return;
  const wanted = spec.healthCheckNodePort ?? 0;
  spec.healthCheckNodePort = guarded('spec.healthCheckNodePort', wanted, () => {
    if (wanted === 0) return addresses.freePort(taken);
    if (taken.has(wanted)) throw new AllocationError('provided port is already allocated');
    if (wanted !== old?.healthCheckNodePort) addresses.checkPort(wanted);
    return wanted;
  });
}
