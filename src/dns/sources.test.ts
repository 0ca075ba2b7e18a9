import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../net/address.ts';
import { cutToQuestion, Sources } from './sources.ts';
import { readHeader, writeQuery } from './wire.ts';

test("private addresses are a cluster's own, of both families; others only where they are told", () => {
  const sources = new Sources([asCidr('203.0.113.0/24'), asCidr('2001:db8::/32')]);
  const own = ['127.0.0.1', '10.244.1.2', '172.31.255.255', '192.168.1.1', '169.254.20.10', '203.0.113.9', '::1'];
  for (const ip of [...own, 'fd44::1', 'fe80::1', '2001:db8:1::1', '::ffff:10.0.0.1'])
    assert.equal(sources.has(asIp(ip)), true, ip);
  for (const ip of ['8.8.8.8', '172.32.0.1', '203.0.114.1', '2001:4860::1', '::ffff:8.8.8.8'])
    assert.equal(sources.has(asIp(ip)), false, ip);
});

test('an answer that is cut to its question is no longer than the question was', () => {
  const query = writeQuery(7, 'web.default.svc.cluster.local', 1);
  const answer = Buffer.concat([query, Buffer.alloc(500)]);
  const length = cutToQuestion(answer, 0, answer.length);
  assert.equal(length, query.length - 11);
  assert.equal((readHeader(answer)?.flags ?? 0) & 0x0200, 0x0200);
  assert.equal(readHeader(answer)?.answers, 0);
});
