// Services and EndpointSlices by the thousand, for benchmarks of the proxy.
import type { Stored } from '../src/k8s/object.ts';
import type { EndpointSlice, Service } from '../src/k8s/types.generated.ts';
import { addressAt, asCidr } from '../src/net/address.ts';

const serviceRange = asCidr('10.128.0.0/12');
const podRange = asCidr('10.0.0.0/9');
const perSlice = 100;
/** As in a cluster of 50 nodes: one endpoint in 50 is here. */
const nodes = 50;

const metadata = (name: string, labels?: Record<string, string>): Stored<Service>['metadata'] => ({
  name,
  namespace: 'bench',
  uid: `00000000-0000-4000-8000-${name.replace(/\D/g, '').padStart(12, '0')}`,
  resourceVersion: '1',
  creationTimestamp: '2026-01-01T00:00:00Z',
  ...(labels !== undefined && { labels }),
});

export function benchService(index: number): Stored<Service> {
  const clusterIP = addressAt(serviceRange, index + 300);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(`service-${index}`, { app: `app-${index}` }),
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: { app: `app-${index}` },
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
    },
    status: { loadBalancer: {} },
  };
}

/** The address of an endpoint; `generation` gives the endpoint that comes in its place. */
export const endpointAddress = (service: number, endpoint: number, endpoints: number, generation = 0): string =>
  addressAt(podRange, 1 + ((service * endpoints + endpoint + generation * 4_000_037) % 8_000_000));

/** The slices of a Service as the EndpointSlice controller writes them; the first endpoint is of the generation. */
export function benchSlices(service: number, endpoints: number, generation = 0): Stored<EndpointSlice>[] {
  const count = Math.ceil(endpoints / perSlice);
  return Array.from({ length: count }, (_, part): Stored<EndpointSlice> => {
    const first = part * perSlice;
    const labels = {
      app: `app-${service}`,
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      'kubernetes.io/service-name': `service-${service}`,
    };
    const owner = { apiVersion: 'v1', kind: 'Service', name: `service-${service}`, uid: `uid-${service}` };
    return {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        ...metadata(`service-${service}-${part}`, labels),
        ownerReferences: [{ ...owner, blockOwnerDeletion: true, controller: true }],
      },
      addressType: 'IPv4',
      endpoints: Array.from({ length: Math.min(perSlice, endpoints - first) }, (_, position) => {
        const index = first + position;
        const node = (service + index) % nodes;
        return {
          addresses: [endpointAddress(service, index, endpoints, index === 0 ? generation : 0)],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: `node-${node}`,
          zone: `zone-${node % 3}`,
          targetRef: {
            kind: 'Pod',
            namespace: 'bench',
            name: `app-${service}-6d4cf56db6-${index.toString(36).padStart(5, 'x')}`,
            uid: `00000000-0000-4000-9000-${String(service * endpoints + index).padStart(12, '0')}`,
          },
        };
      }),
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    };
  });
}

export const benchNode = {
  name: 'node-0',
  addresses: ['172.18.0.2'],
  clusterCidrs: [podRange],
  serviceCidrs: [serviceRange],
} as const;
