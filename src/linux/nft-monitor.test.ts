import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from './netlink.ts';
import { type ForeignWrite, transactions } from './nft-monitor.ts';

/** NFT_MSG_NEWSETELEM in a table of family ip, with the table's name. */
function element(table: string): Message {
  const name = Buffer.from(`${table}\0`);
  const body = Buffer.alloc(4 + 4 + Math.ceil(name.length / 4) * 4);
  body.writeUInt8(2, 0);
  body.writeUInt16LE(4 + name.length, 4);
  body.writeUInt16LE(1, 6);
  name.copy(body, 8);
  return { type: (10 << 8) | 12, flags: 0, sequence: 0, body };
}

function end(processId: number): Message {
  const body = Buffer.alloc(12);
  body.writeUInt16LE(8, 4);
  body.writeUInt16LE(2, 6);
  body.writeUInt32BE(processId, 8);
  return { type: (10 << 8) | 15, flags: 0, sequence: 0, body };
}

test('a transaction of someone else is told with its tables, also when it comes in parts; own ones are not', () => {
  const told: ForeignWrite[] = [];
  const collect = transactions(
    (processId) => processId === 7,
    (written) => told.push(written),
  );
  collect({ type: 'messages', messages: [element('ours'), end(7), element('a')] });
  collect({ type: 'messages', messages: [element('b'), end(8)] });
  assert.deepEqual(told, [new Set(['ip a', 'ip b'])]);
  collect({ type: 'messages', messages: [element('lost')] });
  collect({ type: 'overrun' });
  // What was in the buffer before the loss may belong to another transaction than the end that comes next.
  collect({ type: 'messages', messages: [element('ours'), end(9)] });
  collect({ type: 'messages', messages: [element('c'), end(9)] });
  assert.deepEqual(told.slice(1), [undefined, undefined, new Set(['ip c'])]);
});
