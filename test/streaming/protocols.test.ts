// What kubectl does not use but other clients do: the older WebSocket sub-protocols; and who may ask a kubelet.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { get } from 'node:https';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { proxyHttp, proxyToKubelet, proxyUpgrade } from '../../src/apiserver/streaming/proxy.ts';
import { issue, type KeyPair } from '../../src/pki/pki.ts';
import { close, type FakeCluster, listen, startFakeCluster } from './fake-cluster.ts';

let cluster: FakeCluster;

before(async () => {
  cluster = await startFakeCluster();
});
after(() => cluster.stop());

function dial(query: string, protocol: string): WebSocket {
  const url = `${cluster.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/web/exec?${query}`;
  return new WebSocket(url, [protocol], { ca: cluster.ca.cert, ...cluster.admin });
}

/** Everything that the session sends until it ends, by channel. */
async function session(ws: WebSocket, base64: boolean): Promise<Map<number, string>> {
  const received = new Map<number, string>();
  ws.on('message', (message: Buffer) => {
    const channel = base64 ? Number(message.toString('latin1', 0, 1)) : (message[0] ?? -1);
    const rest = message.subarray(1);
    const text = base64 ? Buffer.from(rest.toString(), 'base64').toString() : rest.toString();
    received.set(channel, (received.get(channel) ?? '') + text);
  });
  await once(ws, 'close');
  return received;
}

test('v4 in binary frames, with the exit status in the error channel', async () => {
  const ws = dial(
    'command=sh&command=-c&command=echo+out;echo+err+>%262;exit+3&stdout=1&stderr=1',
    'v4.channel.k8s.io',
  );
  const received = await session(ws, false);
  assert.equal(received.get(1), 'out\n');
  assert.equal(received.get(2), 'err\n');
  assert.match(received.get(3) ?? '', /"reason":"ExitCode","message":"3"/);
});

test('v4 in base64 text frames, both ways', async () => {
  const ws = dial('command=head&command=-n1&stdin=1&stdout=1', 'v4.base64.channel.k8s.io');
  ws.on('open', () => ws.send(`0${Buffer.from('zeile ä\n').toString('base64')}`));
  const received = await session(ws, true);
  assert.equal(received.get(1), 'zeile ä\n');
  assert.match(received.get(3) ?? '', /"Success"/);
});

test('v5 ends the input alone, and a new size of the terminal is passed on', async () => {
  const ws = dial('command=cat&stdin=1&stdout=1&tty=1', 'v5.channel.k8s.io');
  ws.on('open', () => {
    ws.send(Buffer.from('\x04{"Width":80,"Height":24}'));
    ws.send(Buffer.from('\x00text'));
    ws.send(Buffer.from([255, 0]));
  });
  const received = await session(ws, false);
  assert.equal(received.get(1), 'text');
  assert.deepEqual(cluster.resizes, ['{"Width":80,"Height":24}']);
});

test('an unknown sub-protocol is refused with those that are served', async () => {
  const ws = dial('command=true&stdout=1', 'v9.example.com');
  const [, response] = await once(ws, 'unexpected-response');
  const text = (await response.setEncoding('utf8').toArray()).join('');
  assert.equal(response.statusCode, 400);
  assert.match(text, /none of the WebSocket sub-protocols .*v9\.example\.com.* is served; use v5\.channel\.k8s\.io/);
});

test('a kubelet that cannot be reached is a ServiceUnavailable, for streams and for logs', async () => {
  const tls = { ca: cluster.ca.cert, ...(await issue(cluster.ca, { commonName: 'x', usages: ['client'] })) };
  const dead = createServer();
  const target = { host: '127.0.0.1', port: await listen(dead), path: '/' };
  await close(dead);
  const server = createServer((req, res) => proxyHttp({ req, res, target, tls }));
  server.on('upgrade', (req, socket, head) => proxyToKubelet({ req, socket, head, target, tls, kind: 'exec' }));
  const port = await listen(server);
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`, ['v5.channel.k8s.io']);
  const [, response] = await once(ws, 'unexpected-response');
  assert.equal(response.statusCode, 503);
  response.resume();
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(answer.status, 503);
  assert.match(
    await answer.text(),
    /error trying to reach 127\.0\.0\.1:\d+: connect ECONNREFUSED.*"ServiceUnavailable"/,
  );
  await close(server);
});

test('a pod behind the proxy sees the request without the credentials of the sender', async () => {
  const pod = createServer((req, res) => res.end(JSON.stringify([req.method, req.url, req.headers])));
  const target = { host: '127.0.0.1', port: await listen(pod), path: '/x?y=z' };
  const server = createServer((req, res) => proxyHttp({ req, res, target }));
  const port = await listen(server);
  const answer = await fetch(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    body: 'text',
    headers: { authorization: 'Bearer secret', 'impersonate-user': 'jane', accept: 'text/plain' },
  });
  const [method, url, headers] = JSON.parse(await answer.text());
  assert.deepEqual([method, url, headers.accept], ['POST', '/x?y=z', 'text/plain']);
  assert.deepEqual([headers.authorization, headers['impersonate-user']], [undefined, undefined]);
  await close(server);
  await close(pod);
});

test('a WebSocket of a pod works through the proxy, without the token among its sub-protocols', async () => {
  const { WebSocketServer } = await import('ws');
  const pod = createServer();
  const offered: string[] = [];
  const echo = new WebSocketServer({ server: pod });
  echo.on('connection', (ws, req) => {
    offered.push(req.headers['sec-websocket-protocol'] ?? '');
    ws.on('message', (message) => ws.send(message));
  });
  const target = { host: '127.0.0.1', port: await listen(pod), path: '/' };
  const server = createServer();
  server.on('upgrade', (req, socket, head) => proxyUpgrade({ req, socket, head, target }));
  const port = await listen(server);
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`, ['base64url.bearer.authorization.k8s.io.c2VjcmV0', 'chat']);
  await once(ws, 'open');
  ws.send('hello');
  const [message] = await once(ws, 'message');
  assert.equal(String(message), 'hello');
  assert.deepEqual(offered, ['chat']);
  ws.close();
  await once(ws, 'close');
  echo.close();
  await close(server);
  await close(pod);
});

async function askKubelet(path: string, client?: KeyPair): Promise<{ code: number | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: cluster.kubeletPort, path, ca: cluster.ca.cert, agent: false };
    get({ ...options, ...client }, async (res) => {
      resolve({ code: res.statusCode, text: (await res.setEncoding('utf8').toArray()).join('') });
    }).on('error', reject);
  });
}

test('the kubelet answers the API server alone', async () => {
  const other = await issue(cluster.ca, {
    commonName: 'system:node:one',
    organizations: ['system:nodes'],
    usages: ['client'],
  });
  const server = await issue(cluster.ca, { commonName: 'kube-apiserver-kubelet-client', usages: ['client'] });
  assert.equal((await askKubelet('/pods')).code, 401);
  const refused = await askKubelet('/pods', other);
  assert.equal(refused.code, 403);
  assert.match(refused.text, /Forbidden \(user=system:node:one, path=\/pods\)/);
  assert.deepEqual(await askKubelet('/healthz', server), { code: 200, text: 'ok' });
  const pods = await askKubelet('/pods', server);
  assert.equal(JSON.parse(pods.text).items[0].metadata.name, 'web');
  assert.equal((await askKubelet('/exec/default/web/main', server)).code, 404);
});
