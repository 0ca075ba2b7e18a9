import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readElements } from './nft-elements.ts';

// As nft 1.0.6 printed it.
const listing = `{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, {"map": {"family": "ip",
  "name": "affinity", "table": "weft-proxy", "type": ["ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"], "handle": 9,
  "map": "mark", "size": 262144, "flags": ["timeout"], "elem": [[{"elem": {"val": {"concat": ["10.244.1.2", "10.96.0.4",
  "tcp", 80]}, "timeout": 10800, "expires": 10787}}, 1460150754]]}}]}`;

test('an element of a dynamic map is read with how long it lives', () => {
  assert.deepEqual(readElements('affinity', listing), [
    {
      set: 'affinity',
      key: '10.244.1.2 . 10.96.0.4 . tcp . 80',
      value: '1460150754',
      lifetime: { timeout: 10_800, expires: 10_787 },
    },
  ]);
});

test('a class of packets is read as it is written', () => {
  const classed = listing.replace('["10.244.1.2", "10.96.0.4",\n  "tcp", 80]', '["10.244.1.2", "a60:1"]');
  assert.equal(readElements('affinity', classed)[0]?.key, '10.244.1.2 . a60:1');
});

test('what is not understood is left out', () => {
  assert.deepEqual(readElements('other', listing), []);
  assert.deepEqual(readElements('affinity', listing.replace('"tcp"', '"} ; flush ruleset"')), []);
});
