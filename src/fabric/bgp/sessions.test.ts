// BIRD's tables, as BIRD 2.0.12 prints them, to typed data.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReplyLine, type ReplyLine } from './control.ts';
import { parseDestinations, parseSessions } from './sessions.ts';

function reply(text: string): ReplyLine[] {
  const lines: ReplyLine[] = [];
  for (const line of text.split('\n')) {
    const parsed = parseReplyLine(line, lines.at(-1)?.code);
    if (parsed !== undefined) lines.push({ code: parsed.code, text: parsed.text });
  }
  return lines;
}

const protocols = `2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-21T07:43:50+0000  
1006-
1002-own4       Static     master4    up     2026-11-21T07:43:50+0000  
1006-  Channel ipv4
     State:          UP
     Routes:         1 imported, 0 exported, 1 preferred
 
1002-node:weft-worker BGP        ---        up     2026-11-21T08:43:51+0100  Established   
1006-  BGP state:          Established
     Neighbor address: 172.18.0.3
     Neighbor AS:      64512
     Local AS:         64512
     Neighbor ID:      172.18.0.3
   Channel ipv4
     State:          UP
     Routes:         2 imported, 3 filtered, 1 exported, 2 preferred
     BGP Next hop:   172.18.0.2
 
1002-peer:tor   BGP        ---        start  2026-11-21T07:43:51+0000  Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: fe80::1%eth0
     Neighbor AS:      64600
     Connect delay:    1.103/3
     Last error:       Socket: Connection refused
   Channel ipv6
     State:          DOWN
 
0000 `;

test('the sessions are found among the other protocols, with their counts', () => {
  assert.deepEqual(parseSessions(reply(protocols)), [
    {
      name: 'node:weft-worker',
      neighbor: '172.18.0.3',
      neighborAs: 64512,
      state: 'Established',
      since: '2026-11-21T07:43:51Z',
      imported: 2,
      exported: 1,
      filtered: 3,
    },
    {
      name: 'peer:tor',
      neighbor: 'fe80::1',
      neighborAs: 64600,
      state: 'Active',
      since: '2026-11-21T07:43:51Z',
      imported: 0,
      exported: 0,
      filtered: 0,
      lastError: 'Socket: Connection refused',
    },
  ]);
});

test('the destinations of routes', () => {
  const routes = `1007-Table master4:
 10.244.2.0/24        unicast [node:weft-worker 07:43:51.001] * (100) [i]
 	via 172.18.0.3 on eth0
 10.244.3.0/24        unicast [node:weft-worker2 07:43:51.001] * (100) [i]
1007-
 Table master6:
 fd00:244::/64        unicast [node:weft-worker:6 07:43:51.001] * (100) [i]
0000 `;
  assert.deepEqual([...parseDestinations(reply(routes))], ['10.244.2.0/24', '10.244.3.0/24', 'fd00:244::/64']);
});

test('lines of a reply: a code and more, a code and the end, or as before', () => {
  assert.deepEqual(parseReplyLine('1002-x', undefined), { code: 1002, text: 'x', isLast: false });
  assert.deepEqual(parseReplyLine('0000 ', undefined), { code: 0, text: '', isLast: true });
  assert.deepEqual(parseReplyLine('  x', 1006), { code: 1006, text: ' x', isLast: false });
  assert.equal(parseReplyLine('x', 1006), undefined);
  assert.equal(parseReplyLine(' x', undefined), undefined);
});
