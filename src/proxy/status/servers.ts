// The proxy's two HTTP servers, at kube-proxy's ports: metrics, and health for load balancers and the kubelet.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Log } from '../../log/log.ts';

/** kube-proxy's own ports. */
export const metricsPort = 10249;
export const healthPort = 10256;

export interface Page {
  readonly code: number;
  readonly type: 'text/plain; charset=utf-8' | 'text/plain; version=0.0.4; charset=utf-8' | 'application/json';
  readonly body: string;
}

/** Serves pages by their path on all addresses; the rest is 404. A port that is taken is logged: Services go on. */
export function servePages(port: number, pages: Readonly<Record<string, () => Page>>, log: Log): Server {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const page = pages[new URL(request.url ?? '/', 'http://localhost').pathname];
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    const { code, type, body } = page?.() ?? { code: 404, type: 'text/plain; charset=utf-8', body: 'not found\n' };
    response.writeHead(code, { 'content-type': type, 'x-content-type-options': 'nosniff' }).end(body);
  };
  const server = createServer(answer);
  server.on('error', (error) => {
    // Without IPv6 in the kernel there is no address of both families.
    if ('code' in error && error.code === 'EAFNOSUPPORT') server.listen({ host: '0.0.0.0', port });
    else log.warn({ port, error: String(error) }, 'the status of the proxy cannot be served');
  });
  return server.listen({ host: '::', port });
}
