// Connections from the API server to what it proxies to: a kubelet (TLS with the API server's client certificate), or a
// pod (plain HTTP or HTTPS that is not verified, as Kubernetes' pods/proxy and services/proxy do).
import { type ClientRequest, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';

export interface Target {
  readonly host: string;
  readonly port: number;
  /** Path and query, as the request line has them. */
  readonly path: string;
  /** Only for targets without `tls`: `https` does not verify the certificate. */
  readonly scheme?: 'http' | 'https';
}

/** The API server's own identity towards kubelets and the authority of their certificates (PEM). */
export interface BackendTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export type Upgrade =
  | { readonly ok: true; readonly res: IncomingMessage; readonly socket: Duplex; readonly head: Buffer }
  | { readonly ok: false; readonly res: IncomingMessage };

/** A request to the target, on a connection of its own. */
export function requestTo(
  target: Target,
  tls: BackendTls | undefined,
  method: string,
  headers: OutgoingHttpHeaders,
): ClientRequest {
  const { host, port, path, scheme } = target;
  const options = { host, port, path, method, headers, agent: false };
  if (tls) return httpsRequest({ ...options, ...tls });
  // Pods have no certificates that the API server could know.
  return scheme === 'https' ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options);
}

/**
 * Asks the target to switch protocols.
 * @throws Error when it cannot be reached.
 */
export function upgrade(
  target: Target,
  tls: BackendTls | undefined,
  method: string,
  headers: OutgoingHttpHeaders,
): Promise<Upgrade> {
  return new Promise((resolve, reject) => {
    const req = requestTo(target, tls, method, headers);
    req.on('error', reject);
    req.on('response', (res) => resolve({ ok: false, res }));
    req.on('upgrade', (res, socket, head) => {
      socket.on('error', () => socket.destroy());
      resolve({ ok: true, res, socket, head });
    });
    req.end();
  });
}

/** Headers that belong to one connection (RFC 9110, section 7.6.1) and credentials that are for the API server alone. */
const ownHeaders =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|authorization|impersonate-.*)$/;

const tokenProtocol = 'base64url.bearer.authorization.k8s.io.';

/** What may be passed on of the headers of a request or an answer. */
export function forwardedHeaders(message: IncomingMessage): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  const listed = (message.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    if (values !== undefined && !ownHeaders.test(name) && !listed.includes(name))
      headers[name] = values.length === 1 ? values[0] : values;
  }
  // Browsers send their token as a WebSocket sub-protocol.
  const protocols = message.headers['sec-websocket-protocol']?.split(',').map((one) => one.trim());
  if (protocols?.some((one) => one.startsWith(tokenProtocol)))
    headers['sec-websocket-protocol'] = protocols.filter((one) => !one.startsWith(tokenProtocol)).join(', ');
  return headers;
}
