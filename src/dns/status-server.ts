// What the kubelet and Prometheus ask the DNS server over HTTP: /health, /ready and /metrics, as CoreDNS has them.
import { createServer, type Server } from 'node:http';

export interface StatusEndpoint {
  /** The address to listen on. */
  readonly address: string;
  readonly port: number;
  readonly path: '/health' | '/ready' | '/metrics';
  /** The page, or undefined for 503. */
  page(): string | undefined;
}

export interface StatusPage {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves one page on a port of its own; anything else there is 404. Rejects with the system's error. */
export async function serveStatus({ address, port, path, page }: StatusEndpoint): Promise<StatusPage> {
  const server = createServer((request, response) => {
    const found = request.url?.split('?')[0] === path;
    const body = found ? page() : undefined;
    response.statusCode = !found ? 404 : body === undefined ? 503 : 200;
    response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
    response.end(body ?? (found ? 'not ready\n' : 'not found\n'));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  return closable(server);
}

/** A server of HTTP that ends with its connections. */
export function closable(server: Server): StatusPage {
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
