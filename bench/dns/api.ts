// An API server that only lists and watches, with as many Services as asked for; for the benchmark of DNS.
import { createServer, type ServerResponse } from 'node:http';
import type { EndpointSlice, Service } from '../../src/k8s/types.generated.ts';

export interface Content {
  readonly services: number;
  /** Endpoints of each Service. */
  readonly endpoints: number;
  /** That of the ConfigMap coredns; there is none where it is absent. */
  readonly corefile?: string;
}

const namespace = 'default';
export const addressOf = (index: number): string => `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
const podAddress = (index: number): string => `10.${(index >> 16) + 200}.${(index >> 8) & 255}.${index & 255}`;
/** The headless Service, and how many endpoints it has. */
export const headless = { name: 'many', endpoints: 100 } as const;

const meta = (name: string, labels: Record<string, string> = {}) => ({
  name,
  namespace,
  labels: { app: name, ...labels },
  uid: `uid-${name}`,
  resourceVersion: '1',
  creationTimestamp: '2026-01-01T00:00:00Z',
});

const service = (name: string, clusterIP: string): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta(name),
  spec: {
    clusterIP,
    clusterIPs: [clusterIP],
    selector: { app: name },
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  },
});

/** As a controller writes them, with all that it says of each pod. */
export const slice = (name: string, ips: readonly string[], version = '1'): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { ...meta(`${name}-1`, { 'kubernetes.io/service-name': name }), resourceVersion: version },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  endpoints: ips.map((ip, index) => ({
    addresses: [ip],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${index % 100}`,
    targetRef: { kind: 'Pod', namespace, name: `${name}-5d9c8f7b6d-x${index}`, uid: `uid-${name}-${index}` },
  })),
});

export interface Api {
  readonly url: string;
  /** Tells watchers of a changed slice. */
  change(slice: EndpointSlice): void;
  close(): void;
}

/** Starts it on 127.0.0.1. */
export async function startApi({ services, endpoints, corefile }: Content): Promise<Api> {
  const watchers = new Set<ServerResponse>();
  const many = Array.from({ length: headless.endpoints }, (_, index) => `10.199.0.${index + 1}`);
  /** Objects are made when they are listed: the benchmark's own memory is not the question. */
  const collections: Record<string, { count: number; at: (index: number) => object }> = {
    '/api/v1/services': {
      count: services + 1,
      at: (index) => (index === services ? service(headless.name, 'None') : service(`svc-${index}`, addressOf(index))),
    },
    '/apis/discovery.k8s.io/v1/endpointslices': {
      count: endpoints === 0 ? 1 : services + 1,
      at: (index) =>
        index === 0
          ? slice(headless.name, many)
          : slice(
              `svc-${index - 1}`,
              Array.from({ length: endpoints }, (_, pod) => podAddress((index - 1) * endpoints + pod)),
            ),
    },
    '/api/v1/namespaces/kube-system/configmaps': {
      count: corefile === undefined ? 0 : 1,
      at: () => ({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { ...meta('coredns'), namespace: 'kube-system' },
        data: { Corefile: corefile },
      }),
    },
    '/api/v1/namespaces': { count: 1, at: () => ({ apiVersion: 'v1', kind: 'Namespace', metadata: meta(namespace) }) },
  };
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    response.setHeader('content-type', 'application/json');
    if (url.searchParams.has('watch')) {
      if (url.pathname.endsWith('endpointslices')) watchers.add(response);
      return response.flushHeaders();
    }
    // The ConfigMap coredns-custom is asked for too.
    const isOther = (url.searchParams.get('fieldSelector') ?? 'metadata.name=coredns') !== 'metadata.name=coredns';
    const { count, at } = (isOther ? undefined : collections[url.pathname]) ?? { count: 0, at: () => ({}) };
    const from = Number(url.searchParams.get('continue') ?? 0);
    const to = Math.min(count, from + Number(url.searchParams.get('limit') ?? count));
    const items = Array.from({ length: to - from }, (_, index) => at(from + index));
    const metadata = { resourceVersion: '1', ...(to < count && { continue: String(to) }) };
    response.end(JSON.stringify({ kind: 'List', apiVersion: 'v1', metadata, items }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const bound = server.address();
  return {
    url: `http://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`,
    change(object) {
      for (const watcher of watchers) watcher.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
