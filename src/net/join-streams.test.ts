import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { joinStreams, joinUpgraded } from './join-streams.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** Both ends of a TCP connection on this machine. */
async function pair(allowHalfOpen = true): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ allowHalfOpen }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen });
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  for (const socket of [near, far]) socket.on('error', () => undefined);
  sockets.push(near, far);
  return [near, far];
}

const large = Buffer.alloc(16 << 20, 'weft');
const none = Buffer.alloc(0);

/** Reads a stream as somebody does who has other things to do. */
async function readSlowly(socket: Socket): Promise<number> {
  let bytes = 0;
  for await (const chunk of socket) {
    bytes += (chunk as Buffer).length;
    await delay(1);
  }
  return bytes;
}

describe('two connections made into one', () => {
  test('a client that reads slowly gets everything of a server that closes after its last word', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair(false);
    joinUpgraded({ socket: clientSide, head: none }, { socket: serverSide, head: none });
    server.end(large);
    assert.equal(await readSlowly(client), large.length);
  });

  test('a client gets what was read of a server whose connection broke then', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair();
    joinUpgraded({ socket: clientSide, head: none }, { socket: serverSide, head: none });
    server.write(large);
    // The client reads nothing: its side fills up to the last buffer.
    for (let before = -1; serverSide.bytesRead !== before; await delay(20)) before = serverSide.bytesRead;
    assert.ok(clientSide.writableLength > 0);
    const passedOn = clientSide.bytesWritten;
    serverSide.destroy(new Error('write EPIPE'));
    assert.equal(await readSlowly(client), passedOn);
  });

  test('what was read of a connection before comes first', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair();
    joinUpgraded(
      { socket: clientSide, head: Buffer.from('asked ') },
      { socket: serverSide, head: Buffer.from('said ') },
    );
    client.write('more');
    server.write('more');
    assert.equal(String(await heard(server, 10)), 'asked more');
    assert.equal(String(await heard(client, 9)), 'said more');
  });

  test('a client that ends an upgraded connection ends the session', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair();
    joinUpgraded({ socket: clientSide, head: none }, { socket: serverSide, head: none });
    const closed = once(serverSide, 'close');
    client.end('last words');
    assert.equal(String(await heard(server, 10)), 'last words');
    server.resume();
    await closed;
  });

  test('one direction goes on when the other has ended', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair();
    joinStreams(clientSide, serverSide);
    client.end('question');
    assert.equal(String(await heard(server, 8)), 'question');
    server.end('answer');
    assert.equal(String(await heard(client, 6)), 'answer');
  });

  test('a side that is broken off takes the other with it', async () => {
    const [client, clientSide] = await pair();
    const [serverSide, server] = await pair();
    joinStreams(clientSide, serverSide);
    server.resetAndDestroy();
    client.resume();
    await once(client, 'end');
    client.end();
    await once(clientSide, 'close');
  });
});

async function heard(socket: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  while (Buffer.concat(chunks).length < length) {
    const chunk = socket.read();
    if (chunk === null) await once(socket, 'readable', { signal: AbortSignal.timeout(5000) });
    else chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
