// Tests of dialling through a Unix socket, and of passing bytes on.
import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import { listening, portOf, relayServer } from './byte-relay.ts';
import { datagramReader, frameDatagram, relayDatagrams } from './datagram-relay.ts';
import { createDialServer, dialLine, parseDialLine } from './dial.ts';
import { dnsQuery, isAnswer } from './dns-check.ts';

async function udpSocket(): Promise<UdpSocket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

test('a dial line is an address and a port, and nothing else', () => {
  assert.deepEqual(parseDialLine('10.0.0.1:80'), { protocol: 'tcp', host: '10.0.0.1', port: 80 });
  assert.deepEqual(parseDialLine('udp [fd00::1]:53'), { protocol: 'udp', host: 'fd00::1', port: 53 });
  assert.equal(dialLine('fd00::1', 53), '[fd00::1]:53\n');
  assert.equal(dialLine('10.0.0.1', 53, 'udp'), 'udp 10.0.0.1:53\n');
  for (const line of ['', 'localhost:80', '10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', '10.0.0:80', 'fd00::1:53'])
    assert.equal(parseDialLine(line), undefined, line);
});

test('bytes go both ways through a relay and a dial socket, and each end is passed on', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-dial-'));
  t.after(() => rmSync(folder, { recursive: true }));
  // Answers only after the other side has ended: half-closed connections have to work.
  const target = createServer({ allowHalfOpen: true }, (socket) => {
    let got = 0;
    socket.on('data', (chunk) => {
      got += chunk.length;
    });
    socket.on('end', () => socket.end(`got ${got}`));
  });
  await listening(target, { host: '127.0.0.1', port: 0 });
  const dialServer = createDialServer();
  await listening(dialServer, { path: join(folder, 'dial.sock') });
  const relay = relayServer({ path: join(folder, 'dial.sock') }, dialLine('127.0.0.1', portOf(target)));
  await listening(relay, { host: '127.0.0.1', port: 0 });
  t.after(() => {
    for (const server of [relay, dialServer, target]) server.close();
  });
  const socket = connect({ host: '127.0.0.1', port: portOf(relay), allowHalfOpen: true });
  socket.end('x'.repeat(1_000_000));
  assert.equal(await text(socket), 'got 1000000');
});

test('datagrams go both ways through a relay and a dial socket, each client by itself, empty and largest ones too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-dial-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const target = await udpSocket();
  // Says from where it was asked: each client is another one for the target as well.
  const askers = new Set<number>();
  target.on('message', (datagram, from) => {
    askers.add(from.port);
    target.send(datagram, from.port, from.address);
  });
  const dialServer = createDialServer();
  const path = join(folder, 'dial.sock');
  await listening(dialServer, { path });
  const relay = await relayDatagrams({
    family: 'IPv4',
    port: 0,
    path,
    greeting: () => dialLine('127.0.0.1', target.address().port, 'udp'),
  });
  const clients = [await udpSocket(), await udpSocket()];
  t.after(() => {
    relay.close();
    dialServer.close();
    for (const socket of [target, ...clients]) socket.close();
  });
  for (const [index, client] of clients.entries())
    for (const size of [0, 1, 1_200, 65_507]) {
      const answer = once(client, 'message');
      client.send(Buffer.alloc(size, index), relay.port, '127.0.0.1');
      const [datagram] = await answer;
      assert.deepEqual(datagram, Buffer.alloc(size, index));
    }
  assert.equal(askers.size, 2);
});

test('datagrams that were cut apart and joined on their way are whole again', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), fc.array(fc.nat(50)), (sent, cuts) => {
      const stream = Buffer.concat(sent.map((one) => frameDatagram(Buffer.from(one))));
      const received: Buffer[] = [];
      const read = datagramReader((datagram) => received.push(Buffer.from(datagram)));
      let at = 0;
      for (const length of cuts) {
        read(stream.subarray(at, at + length));
        at += length;
      }
      read(stream.subarray(at));
      assert.deepEqual(
        received,
        sent.map((one) => Buffer.from(one)),
      );
    }),
  );
});

test('a refused connection ends the one that asked for it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-dial-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const relay = relayServer({ path: join(folder, 'nobody.sock') });
  await listening(relay, { host: '127.0.0.1', port: 0 });
  t.after(() => relay.close());
  const socket = connect({ host: '127.0.0.1', port: portOf(relay) });
  await new Promise((resolve) => socket.on('error', resolve).on('close', resolve).resume());
});

test('a DNS question is framed for TCP, and only an answer with records counts', () => {
  const query = dnsQuery('a.bc', 'IPv4');
  assert.equal(query.readUInt16BE(0), query.length - 2);
  assert.equal(query.subarray(14).toString('latin1'), '\x01a\x02bc\0\0\x01\0\x01');
  const answer = Buffer.from(query);
  assert.equal(isAnswer(answer), false);
  answer.writeUInt16BE(0x8180, 4);
  assert.equal(isAnswer(answer), false, 'no records');
  answer.writeUInt16BE(1, 8);
  assert.equal(isAnswer(answer), true);
  answer.writeUInt16BE(0x8183, 4);
  assert.equal(isAnswer(answer), false, 'NXDOMAIN');
});
