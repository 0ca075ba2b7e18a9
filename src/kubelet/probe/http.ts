// HTTP requests of probes and lifecycle hooks, from the node's network to the pod. Rules: kubernetes pkg/probe/http.
import http from 'node:http';
import https from 'node:https';
import type { Container, HTTPGetAction, IntOrString } from '../../k8s/types.generated.ts';
import { refusal } from './refusal.ts';

export interface HttpTarget {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** What an httpGet action asks for; throws a RangeError where its port is not one of the container's. */
export function httpTarget(action: HTTPGetAction, container: Container, podIp: string): HttpTarget {
  const host = action.host || podIp;
  const port = portOf(action.port, container);
  const scheme = (action.scheme ?? 'HTTP').toLowerCase();
  const path = action.path === undefined || action.path === '' ? '/' : action.path;
  const url = new URL(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`);
  const [pathname = '/', query] = path.split(/\?(.*)/s);
  url.pathname = pathname;
  if (query !== undefined) url.search = query;
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.36', accept: '*/*' };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  return { url, headers };
}

/** A port by its number, or by its name in the container's ports. */
export function portOf(port: IntOrString, container: Container): number {
  const number = typeof port === 'number' ? port : /^\d+$/.test(port) ? Number(port) : undefined;
  const found = number ?? container.ports?.find(({ name }) => name === port)?.containerPort;
  if (found === undefined || found < 1 || found > 65535)
    throw new RangeError(`port ${JSON.stringify(port)} is not a port of the container ${container.name}`);
  return found;
}

export interface HttpResult {
  readonly status: number;
  readonly body: string;
  /** Where a redirect leads to another host: the probe does not follow it there. */
  readonly otherHost?: string;
}

const maxBody = 10 * 1024;
const maxRedirects = 10;

/** One GET; follows redirects to the same host. Rejects where there is no answer in time. */
export async function httpGet(target: HttpTarget, timeoutMs: number, redirects = 0): Promise<HttpResult> {
  const { status, location, body } = await requestOnce(target, timeoutMs);
  if (location === undefined || status < 300 || status >= 400) return { status, body };
  const next = new URL(location, target.url);
  if (next.hostname !== target.url.hostname) return { status, body, otherHost: next.host };
  if (redirects >= maxRedirects) throw new Error(`stopped after ${maxRedirects} redirects`);
  return httpGet({ ...target, url: next }, timeoutMs, redirects + 1);
}

function requestOnce(
  { url, headers }: HttpTarget,
  timeoutMs: number,
): Promise<{ status: number; location?: string | undefined; body: string }> {
  const text = `Get "${url.href}"`;
  return new Promise((resolve, reject) => {
    // As forgiving as Go's client, by which servers have been probed so far: a bare line feed ends a header line.
    const options = { headers, agent: false as const, method: 'GET', insecureHTTPParser: true };
    // The certificate of a pod is not for the node to judge.
    const request =
      url.protocol === 'https:'
        ? https.request(url, { ...options, rejectUnauthorized: false })
        : http.request(url, options);
    const timer = setTimeout(
      () => request.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')),
      timeoutMs,
    );
    const fail = (error: Error): void => {
      clearTimeout(timer);
      const port = url.port || (url.protocol === 'https:' ? 443 : 80);
      reject(new Error(`${text}: ${refusal(url.hostname, port, error)}`));
    };
    request.on('error', fail);
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (body.length < maxBody) body += chunk.slice(0, maxBody - body.length);
      });
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, location: response.headers.location, body });
      });
    });
    request.end();
  });
}
