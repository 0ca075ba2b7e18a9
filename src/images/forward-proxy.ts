// The way out for image pulls: a forward proxy on the host's side, since nodes have none of their own (RFC 9110 section
// 9.3.6, CONNECT). It goes through the user's own proxy where HTTPS_PROXY names one.
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Log } from '../log/log.ts';

/** Why a host is not connected to, or undefined where it may be. */
export type Refusal = (host: string) => string | undefined;

/** The rule of who may be reached: nobody when offline; never Weft's own name, which no registry of the world has. */
export function refusalRule(offline: boolean): Refusal {
  return (host) => {
    if (host === 'weft.local') return 'Weft makes no image of that name: see ./weft image list';
    return offline
      ? 'outside registries are switched off for this cluster (--offline): import the image with ./weft image import'
      : undefined;
  };
}

/** Serves one CONNECT request: a tunnel to the named host and port. */
export function serveConnect(req: IncomingMessage, client: Duplex, head: Buffer, refusal: Refusal, log: Log): void {
  const [, host = '', port = ''] = /^(.+):(\d{1,5})$/.exec(req.url ?? '') ?? [];
  const reason = host === '' ? 'CONNECT needs HOST:PORT' : refusal(host.replace(/^\[|\]$/g, ''));
  client.on('error', () => client.destroy());
  if (reason !== undefined) return void client.end(`HTTP/1.1 403 ${reason}\r\nContent-Length: 0\r\n\r\n`);
  const upstream = openTunnel(host.replace(/^\[|\]$/g, ''), Number(port));
  upstream.once('tunnel', () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    upstream.pipe(client).pipe(upstream);
  });
  upstream.on('error', (error) => {
    log.debug({ host, error: error.message }, 'an image pull could not connect');
    client.end(
      `HTTP/1.1 502 ${host} cannot be reached: ${error.message.replace(/[^\x20-\x7e]/g, ' ')}\r\nContent-Length: 0\r\n\r\n`,
    );
  });
  client.on('close', () => upstream.destroy());
}

/** A connection that says 'tunnel' when it is open, straight or through the user's proxy. */
function openTunnel(host: string, port: number): Socket {
  const proxy = process.env.HTTPS_PROXY ?? process.env.https_proxy;
  if (proxy === undefined || proxy === '') {
    const socket = connect({ host, port });
    socket.once('connect', () => socket.emit('tunnel'));
    return socket;
  }
  const { hostname, port: proxyPort } = new URL(proxy);
  const socket = connect({ host: hostname, port: Number(proxyPort || 80) });
  socket.once('connect', () => socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`));
  let answer = '';
  const onData = (chunk: Buffer): void => {
    answer += chunk.toString('latin1');
    const end = answer.indexOf('\r\n\r\n');
    if (end < 0) return;
    socket.off('data', onData);
    if (!/^HTTP\/1\.[01] 2/.test(answer))
      return void socket.destroy(new Error(`the proxy ${hostname} said ${answer.split('\r\n')[0]}`));
    const rest = answer.slice(end + 4);
    if (rest !== '') socket.unshift(Buffer.from(rest, 'latin1'));
    socket.emit('tunnel');
  };
  socket.on('data', onData);
  return socket;
}

/** Serves a plain request with an absolute URL, as runtimes send for registries without TLS. */
export function serveForward(req: IncomingMessage, res: ServerResponse, refusal: Refusal): void {
  const target = URL.canParse(req.url ?? '') ? new URL(req.url ?? '') : undefined;
  if (target === undefined || target.protocol !== 'http:')
    return void res.writeHead(400).end('a proxy request needs an absolute http URL\n');
  const reason = refusal(target.hostname);
  if (reason !== undefined) return void res.writeHead(403, { 'content-type': 'text/plain' }).end(`${reason}\n`);
  const { 'proxy-connection': _, ...headers } = req.headers;
  const upstream = httpRequest(target, { method: req.method ?? 'GET', headers }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(res);
  });
  upstream.on('error', (error) => {
    if (!res.headersSent) res.writeHead(502, { 'content-type': 'text/plain' });
    res.end(`${target.hostname} cannot be reached: ${error.message}\n`);
  });
  req.pipe(upstream);
}
