import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEvent, isLogged, type QueryEvent, QueryLog } from './query-log.ts';

const event: QueryEvent = {
  time: 0,
  client: { address: '10.244.0.7', port: 50_759 },
  transport: 'udp',
  id: 29_008,
  opcode: 0,
  name: 'example.org',
  type: 1,
  class: 1,
  size: 41,
  dnssecOk: false,
  bufferSize: 4096,
  rcode: 0,
  flags: 0x8180,
  answers: 1,
  answerSize: 68,
  seconds: 0.037_990_251,
  by: 'forward',
};

test('the line of a question is the one that CoreDNS writes', () => {
  assert.equal(
    formatEvent('{common}', event),
    '10.244.0.7:50759 - 29008 "A IN example.org. udp 41 false 4096" NOERROR qr,rd,ra 68 0.037990251s',
  );
  assert.match(formatEvent('{combined}', event), /^10\.244\.0\.7:50759 - 29008 0 "A IN/);
  const other = { ...event, client: { address: '::1', port: 9 }, type: 65_280, rcode: 3 };
  assert.equal(formatEvent('{remote} {type} {rcode} {/label}', other), '[::1] TYPE65280 NXDOMAIN -');
});

test('log has the names and classes that it was told to have', () => {
  const log = { line: 1, names: ['example.org'], format: '', classes: ['denial'] } as const;
  assert.equal(isLogged(log, event), false);
  assert.equal(isLogged(log, { ...event, rcode: 3 }), true);
  assert.equal(isLogged(log, { ...event, answers: 0 }), true);
  assert.equal(isLogged(log, { ...event, name: 'example.net', rcode: 3 }), false);
  assert.equal(isLogged({ ...log, classes: ['error'] }, { ...event, rcode: 2 }), true);
  assert.equal(isLogged({ ...log, classes: ['all'], names: [''] }, { ...event, name: 'example.net' }), true);
});

test('nobody who follows: nothing to make events for', () => {
  const log = new QueryLog();
  const seen: string[] = [];
  const end = log.follow(({ name }) => seen.push(name));
  assert.equal(log.active, true);
  log.add(event);
  end();
  assert.deepEqual([log.active, seen], [false, ['example.org']]);
});
