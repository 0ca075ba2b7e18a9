import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { nodes, pods } from '../../src/k8s/resources.ts';
import { issue } from '../../src/pki/pki.ts';
import { type Lab, startLab } from './lab.ts';

let lab: Lab;
let kubelet: Server;
/** What the kubelet was asked for. */
const asked: string[] = [];

before(async () => {
  lab = await startLab();
  const serving = await issue(lab.ca, { commonName: 'system:node:n1', usages: ['server'], ips: ['127.0.0.1'] });
  kubelet = createServer({ ...serving, ca: lab.ca.cert, requestCert: true }, (req, res) => {
    asked.push(req.url ?? '');
    res.end('a line of the log\n');
  });
  kubelet.on('upgrade', (req, socket: Duplex) => {
    asked.push(req.url ?? '');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n');
    socket.pipe(socket);
  });
  kubelet.listen(0, '127.0.0.1');
  await once(kubelet, 'listening');
  const { port: Port } = kubelet.address() as AddressInfo;
  await lab.client.create(nodes, {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port } },
    },
  });
  for (const name of ['placed', 'unplaced'])
    await lab.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }], ...(name === 'placed' ? { nodeName: 'n1' } : {}) },
    });
});
after(async () => {
  kubelet.closeAllConnections();
  kubelet.close();
  await lab.stop();
});

interface Upgraded {
  readonly code: number;
  /** The connection, where it was upgraded. */
  readonly socket?: Duplex;
  readonly body: string;
}

function upgrade(path: string, withIdentity = true): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      port: lab.port,
      path,
      method: 'POST',
      ca: lab.ca.cert,
      ...(withIdentity ? lab.admin : { cert: undefined, key: undefined }),
      agent: false,
      headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' },
    });
    sent.on('upgrade', (_, socket) => resolve({ code: 101, socket, body: '' }));
    sent.on('response', (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += String(chunk);
      });
      response.on('end', () => resolve({ code: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

const pod = (name: string): string => `/api/v1/namespaces/default/pods/${name}`;

test('logs come from the kubelet of the pod', async () => {
  const answer = await lab.send('GET', `${pod('placed')}/log?tailLines=5`);
  assert.equal(answer.text, 'a line of the log\n');
  assert.equal(asked.at(-1), '/containerLogs/default/placed/c?tailLines=5');
});

test('exec goes to the kubelet, and bytes go both ways', async () => {
  const { code, socket } = await upgrade(`${pod('placed')}/exec?command=cat&stdin=1&stdout=1`);
  assert.equal(code, 101);
  assert.match(asked.at(-1) ?? '', /^\/exec\/default\/placed\/c\?command=cat&input=1&output=1/);
  assert.ok(socket);
  socket.write('there and back');
  const [data] = await once(socket, 'data');
  assert.equal(String(data), 'there and back');
  socket.destroy();
});

test('a refused upgrade is answered as any request is', async () => {
  const unplaced = await upgrade(`${pod('unplaced')}/exec?command=ls`);
  assert.deepEqual(
    [unplaced.code, JSON.parse(unplaced.body).message],
    [400, 'pod unplaced does not have a host assigned'],
  );
  assert.equal((await upgrade(`${pod('none')}/exec?command=ls`)).code, 404);
  const stranger = await upgrade(`${pod('placed')}/exec?command=ls`, false);
  assert.deepEqual([stranger.code, JSON.parse(stranger.body).reason], [401, 'Unauthorized']);
});

test('a node can be reached through its proxy subresource', async () => {
  const answer = await lab.send('GET', '/api/v1/nodes/n1/proxy/pods?x=y');
  assert.equal(answer.text, 'a line of the log\n');
  assert.equal(asked.at(-1), '/pods?x=y');
});
