import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpRequestsFor, type FilterProgram, solicitationsFor } from '../linux/packet-filter.ts';
import { asIp, type Mac } from '../net/address.ts';
import { announcementsOf, answerTo, readArpRequest, readSolicitation, solicitedNodeGroup } from './frames.ts';

const mac = '02:57:00:00:00:02' as Mac;
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

// Who has 172.18.255.1? Tell 172.18.0.9.
const request = hex(`ffffffffffff 025700000009 0806
  0001 0800 06 04 0001 025700000009 ac120009 000000000000 ac12ff01`);
// Who has fd18::ff01? Asked by fd18::9, of the group ff02::1:ff00:ff01.
const solicitation = hex(`3333ff00ff01 025700000009 86dd
  60000000 0020 3a ff fd180000000000000000000000000009 ff0200000000000000000001ff00ff01
  87 00 0000 00000000 fd18000000000000000000000000ff01 01 01 025700000009`);

test('an ARP request is read and answered to the asker alone', () => {
  const question = readArpRequest(request);
  assert.deepEqual(question, {
    target: '172.18.255.1',
    asker: { mac: '02:57:00:00:00:09', address: '172.18.0.9' },
  });
  assert.ok(question);
  assert.deepEqual(
    answerTo(question, mac),
    hex('025700000009 025700000002 0806 0001 0800 06 04 0002 025700000002 ac12ff01 025700000009 ac120009'),
  );
});

test('a neighbour solicitation is read and answered with the hardware address; one through a router is not', () => {
  const question = readSolicitation(solicitation);
  assert.deepEqual(question, { target: 'fd18::ff01', asker: { mac: '02:57:00:00:00:09', address: 'fd18::9' } });
  assert.ok(question);
  const answer = answerTo(question, mac);
  assert.equal(
    answer
      .subarray(54, 62)
      .toString('hex')
      .replace(/^(....)..../, '$1'),
    '880060000000',
  );
  assert.equal(answer.subarray(78).toString('hex'), '0201025700000002');
  const routed = Buffer.from(solicitation);
  routed.writeUInt8(254, 21);
  assert.equal(readSolicitation(routed), undefined);
});

test('what is no question is left aside', () => {
  assert.equal(readArpRequest(request.subarray(0, 40)), undefined);
  const reply = Buffer.from(request);
  reply.writeUInt8(2, 21);
  assert.equal(readArpRequest(reply), undefined);
  assert.equal(readSolicitation(request), undefined);
});

test('a take-over is told by gratuitous ARP of both kinds, or by an advertisement to all nodes', () => {
  const [ask, tell] = announcementsOf(asIp('172.18.255.1'), mac);
  for (const frame of [ask, tell]) assert.equal(frame?.subarray(0, 6).toString('hex'), 'ffffffffffff');
  assert.deepEqual([ask?.readUInt16BE(20), tell?.readUInt16BE(20)], [1, 2]);
  const [advertised] = announcementsOf(asIp('fd18::ff01'), mac);
  assert.equal(advertised?.subarray(0, 6).toString('hex'), '333300000001');
  assert.equal(advertised?.readUInt8(58), 0x20, 'override, not solicited');
  assert.equal(solicitedNodeGroup(asIp('fd18::ab01:ff01')), 'ff02::1:ff01:ff01');
});

/** What the kernel does with the few instructions that the programs use. */
function passes(program: FilterProgram, frame: Buffer): boolean {
  let accumulator = 0;
  for (let at = 0; ; at++) {
    const [code, jt, jf, k] = program[at] ?? [6, 0, 0, 0];
    if (code === 6) return k > 0;
    if (code === 0x15) at += accumulator === k ? jt : jf;
    else {
      const size = { 48: 1, 40: 2, 32: 4 }[code] ?? 0;
      if (k + size > frame.length) return false;
      accumulator = frame.readUIntBE(k, size);
    }
  }
}

test('the filters let through the questions for their addresses, and no other frame', () => {
  const arp = arpRequestsFor([asIp('172.18.255.7'), asIp('172.18.255.1')]);
  assert.ok(passes(arp, request));
  assert.ok(!passes(arpRequestsFor([asIp('172.18.255.7')]), request));
  assert.ok(!passes(arpRequestsFor([]), request));
  const reply = Buffer.from(request);
  reply.writeUInt8(2, 21);
  assert.ok(!passes(arp, reply));
  assert.ok(passes(solicitationsFor([asIp('fd18::ff01')]), solicitation));
  assert.ok(!passes(solicitationsFor([asIp('fd18::ff02')]), solicitation));
  assert.ok(!passes(solicitationsFor([]), solicitation));
});
