// Decides about ServiceCIDRs, and what is wrong between Services and their IPAddresses (KEP-1880). Pure.
// The rules and the words of Events are those of kubernetes pkg/controller/servicecidrs and
// pkg/registry/core/service/{ipallocator,portallocator}/controller.
import { isConditionTrue } from '../../k8s/conditions.ts';
import type { IPAddress, Service, ServiceCIDR } from '../../k8s/types.generated.ts';
import {
  type Cidr,
  cidrContains,
  cidrContainsRange,
  familyOf,
  type Ip,
  parseCidr,
  parseIp,
} from '../../net/address.ts';

export const finalizer = 'networking.k8s.io/service-cidr-finalizer';
const familyLabel = 'ipaddress.kubernetes.io/ip-family';
const managedByLabel = 'ipaddress.kubernetes.io/managed-by';
const allocator = 'ipallocator.k8s.io';

export const rangesOf = ({ spec }: ServiceCIDR): Cidr[] =>
  (spec.cidrs ?? []).map(parseCidr).filter((range) => range !== undefined);

/** Whether the IPAddress belongs to a Service: others manage theirs themselves. */
export const isAllocators = ({ metadata }: IPAddress): boolean => metadata.labels?.[managedByLabel] === allocator;

/** Whether no address of a Service would be without a range when the ServiceCIDR goes. `others` are all but it. */
export function canGo(cidr: ServiceCIDR, others: readonly ServiceCIDR[], addresses: readonly IPAddress[]): boolean {
  const elsewhere = others.flatMap(rangesOf);
  const alone = rangesOf(cidr).filter((range) => !elsewhere.some((other) => cidrContainsRange(other, range)));
  return !addresses.some((object) => {
    const ip = isAllocators(object) ? parseIp(object.metadata.name ?? '') : undefined;
    if (ip === undefined || !alone.some((range) => cidrContains(range, ip))) return false;
    return !elsewhere.some((range) => cidrContains(range, ip));
  });
}

/** The IPAddress that an address of a Service has. */
export function addressObject(ip: Ip, { metadata }: Service): IPAddress {
  const { name = '', namespace = '' } = metadata;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: { name: ip, labels: { [familyLabel]: familyOf(ip), [managedByLabel]: allocator } },
    spec: { parentRef: { group: '', resource: 'services', namespace, name } },
  };
}

/** An Event to tell, and whether the IPAddress must be made, or deleted and made anew. */
export interface Fault {
  readonly reason: string;
  readonly message: string;
  readonly repair?: 'create' | 'recreate';
}

/** Whether the Service has this cluster address. */
export const holds = (service: Service | undefined, address: string): boolean =>
  service?.spec?.clusterIPs?.includes(address) === true;

/**
 * What is wrong with one address of a Service; undefined where nothing is.
 * @param ranges those of all ServiceCIDRs that are ready.
 * @param object the IPAddress of that name.
 * @param parent the Service that the IPAddress names as its parent.
 */
export function addressFault(
  service: Service,
  ip: Ip,
  ranges: readonly Cidr[],
  object: IPAddress | undefined,
  parent: Service | undefined,
): Fault | undefined {
  const family = familyOf(ip);
  const { name = '', namespace = '' } = service.metadata;
  if (!ranges.some((range) => cidrContains(range, ip)))
    return {
      reason: 'ClusterIPOutOfRange',
      message: `Cluster IP [${family}]: ${ip} is not within any configured Service CIDR; please recreate service`,
    };
  if (object === undefined)
    return {
      reason: 'ClusterIPNotAllocated',
      message: `Cluster IP [${family}]: ${ip} is not allocated; repairing`,
      repair: 'create',
    };
  const { parentRef } = object.spec;
  const isService = (parentRef.group ?? '') === '' && parentRef.resource === 'services';
  const isOwn = isService && parentRef.namespace === namespace && parentRef.name === name;
  if (isService && !isOwn && holds(parent, ip))
    return {
      reason: 'ClusterIPAlreadyAllocated',
      message: `Cluster IP [${family}]:${ip} was assigned to multiple services; please recreate service`,
    };
  const hasLabels = object.metadata.labels?.[familyLabel] === family && isAllocators(object);
  if (isOwn && hasLabels) return undefined;
  return {
    reason: 'ClusterIPNotAllocated',
    message: `the ClusterIP [${family}]: ${ip} for Service ${namespace}/${name} has a wrong ${isOwn ? 'label' : 'reference'}; repairing`,
    repair: 'recreate',
  };
}

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** The node ports of a Service: those of its ports and the one of its health check. */
export const nodePortsOf = ({ spec }: Service): number[] => {
  const all = [...(spec?.ports ?? []).map(({ nodePort }) => nodePort ?? 0), spec?.healthCheckNodePort ?? 0];
  return [...new Set(all)].filter((port) => port !== 0);
};

/** What is wrong with the node ports of a Service. `holders` counts the Services that have a port. */
export function portFaults(service: Service, range: PortRange, holders: (port: number) => number): Fault[] {
  return nodePortsOf(service).flatMap((port): Fault[] => {
    if (port < range.from || port > range.to)
      return [
        {
          reason: 'PortOutOfRange',
          message: `Port ${port} is not within the port range ${range.from}-${range.to}; please recreate service`,
        },
      ];
    if (holders(port) <= 1) return [];
    const message = `Port ${port} was assigned to multiple services; please recreate service`;
    return [{ reason: 'PortAlreadyAllocated', message }];
  });
}

/** The ranges of the ServiceCIDRs that are ready. */
export const readyRanges = (cidrs: readonly ServiceCIDR[]): Cidr[] =>
  cidrs.filter(({ status }) => isConditionTrue(status?.conditions, 'Ready')).flatMap(rangesOf);
