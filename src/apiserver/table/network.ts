// Tables of Services and what belongs to the network.
import type {
  EndpointSlice,
  Endpoints,
  Ingress,
  IngressClass,
  IPAddress,
  NetworkPolicy,
  Service,
  ServiceCIDR,
  ServicePort,
} from '../../k8s/types.generated.ts';
import { typed } from '../object.ts';
import { age, nameColumn, text } from './columns.ts';
import { ageOf } from './duration.ts';
import type { Printer } from './table.ts';
import { selectorCell } from './workloads.ts';

function externalIp({ spec, status }: Service): string {
  const given = spec.externalIPs ?? [];
  switch (spec.type) {
    case 'LoadBalancer': {
      const own = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '');
      const all = [...own, ...given].filter((one) => one !== '');
      return all.length > 0 ? all.join(',') : '<pending>';
    }
    case 'ExternalName':
      return spec.externalName ?? '';
    default:
      return given.length > 0 ? given.join(',') : '<none>';
  }
}

const servicePort = ({ port, nodePort, protocol }: ServicePort): string =>
  nodePort ? `${port}:${nodePort}/${protocol ?? 'TCP'}` : `${port}/${protocol ?? 'TCP'}`;

const services: Printer = {
  columns: [
    nameColumn,
    text('Type'),
    text('Cluster-IP'),
    text('External-IP'),
    text('Port(s)'),
    age,
    text('Selector', 1),
  ],
  cells: (object, now) => {
    const service = typed<Service>(object);
    const { metadata, spec } = service;
    const selector = Object.entries(spec.selector ?? {})
      .sort()
      .map(([key, value]) => `${key}=${value}`);
    return [
      metadata.name ?? '',
      spec.type ?? 'ClusterIP',
      spec.clusterIPs?.[0] || spec.clusterIP || '<none>',
      externalIp(service),
      (spec.ports ?? []).map(servicePort).join(',') || '<none>',
      ageOf(metadata.creationTimestamp, now),
      selector.join(',') || '<none>',
    ];
  },
};

const hostPort = (host: string, port: number): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

/** At most three, and how many more there are. */
function shortened(all: readonly string[]): string {
  if (all.length === 0) return '<none>';
  return all.length > 3 ? `${all.slice(0, 3).join(',')} + ${all.length - 3} more...` : all.join(',');
}

const endpoints: Printer = {
  columns: [nameColumn, text('Endpoints'), age],
  cells: (object, now) => {
    const { metadata, subsets } = typed<Endpoints>(object);
    const all = (subsets ?? []).flatMap(({ addresses, ports }) =>
      ports === undefined || ports.length === 0
        ? (addresses ?? []).map(({ ip }) => ip)
        : ports.flatMap(({ port }) => (addresses ?? []).map(({ ip }) => hostPort(ip, port))),
    );
    return [metadata.name ?? '', shortened(all), ageOf(metadata.creationTimestamp, now)];
  },
};

const endpointSlices: Printer = {
  columns: [nameColumn, text('AddressType'), text('Ports'), text('Endpoints'), age],
  cells: (object, now) => {
    const { metadata, addressType, ports, endpoints: ends } = typed<EndpointSlice>(object);
    const numbers = (ports ?? []).map(({ port, name }) => (port === undefined ? (name ?? '*') : String(port)));
    const addresses = (ends ?? []).flatMap((end) => end.addresses);
    return [
      metadata.name ?? '',
      addressType,
      numbers.length > 0 ? shortened(numbers) : '<unset>',
      addresses.length > 0 ? shortened(addresses) : '<unset>',
      ageOf(metadata.creationTimestamp, now),
    ];
  },
};

const ingresses: Printer = {
  columns: [nameColumn, text('Class'), text('Hosts'), text('Address'), text('Ports'), age],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<Ingress>(object);
    const hosts = (spec.rules ?? []).map(({ host }) => host || '*');
    const addresses = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || hostname || '');
    return [
      metadata.name ?? '',
      spec.ingressClassName ?? metadata.annotations?.['kubernetes.io/ingress.class'] ?? '<none>',
      hosts.length > 0 ? shortened([...new Set(hosts)]) : '*',
      addresses.filter((one) => one !== '').join(','),
      (spec.tls?.length ?? 0) > 0 ? '80, 443' : '80',
      ageOf(metadata.creationTimestamp, now),
    ];
  },
};

const ingressClasses: Printer = {
  columns: [nameColumn, text('Controller'), text('Parameters'), age],
  cells: (object, now) => {
    const { metadata, spec } = typed<IngressClass>(object);
    const parameters = spec?.parameters;
    const group = parameters?.apiGroup ? `.${parameters.apiGroup}` : '';
    return [
      metadata.name ?? '',
      spec?.controller ?? '',
      parameters === undefined ? '<none>' : `${parameters.kind}${group}/${parameters.name}`,
      ageOf(metadata.creationTimestamp, now),
    ];
  },
};

const networkPolicies: Printer = {
  columns: [nameColumn, text('Pod-Selector'), age],
  cells: (object, now) => {
    const { metadata, spec } = typed<NetworkPolicy>(object);
    return [metadata.name ?? '', selectorCell(spec.podSelector), ageOf(metadata.creationTimestamp, now)];
  },
};

const serviceCidrs: Printer = {
  columns: [nameColumn, text('CIDRs'), age],
  cells: (object, now) => {
    const { metadata, spec } = typed<ServiceCIDR>(object);
    return [metadata.name ?? '', (spec.cidrs ?? []).join(','), ageOf(metadata.creationTimestamp, now)];
  },
};

const ipAddresses: Printer = {
  columns: [nameColumn, text('ParentRef')],
  cells: (object) => {
    const { metadata, spec } = typed<IPAddress>(object);
    const { group = '', resource, namespace = '', name } = spec.parentRef;
    const of = group === '' ? resource : `${resource}.${group}`;
    return [metadata.name ?? '', [of, namespace, name].filter((part) => part !== '').join('/')];
  },
};

export const networkPrinters: Readonly<Record<string, Printer>> = {
  '/services': services,
  '/endpoints': endpoints,
  'discovery.k8s.io/endpointslices': endpointSlices,
  'networking.k8s.io/ingresses': ingresses,
  'networking.k8s.io/ingressclasses': ingressClasses,
  'networking.k8s.io/ipaddresses': ipAddresses,
  'networking.k8s.io/networkpolicies': networkPolicies,
  'networking.k8s.io/servicecidrs': serviceCidrs,
};
