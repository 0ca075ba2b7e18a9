// Tests of dialling through a Unix socket, and of passing bytes on.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { listening, portOf, relayServer } from './byte-relay.ts';
import { createDialServer, dialLine, parseDialLine } from './dial.ts';
import { dnsQuery, isAnswer } from './dns-check.ts';

test('a dial line is an address and a port, and nothing else', () => {
  assert.deepEqual(parseDialLine('10.0.0.1:80'), { host: '10.0.0.1', port: 80 });
  assert.deepEqual(parseDialLine('[fd00::1]:53'), { host: 'fd00::1', port: 53 });
  assert.equal(dialLine('fd00::1', 53), '[fd00::1]:53\n');
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
