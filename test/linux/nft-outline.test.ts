import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { netnsPath } from '../../src/linux/netns.ts';
import { readOutline } from '../../src/linux/nft-outline.ts';

const netns = `wt-outline-${process.pid}`;
const table = { family: 'ip', name: 'weft-test' } as const;
const nft = (script: string): string =>
  execFileSync('ip', ['netns', 'exec', netns, 'nft', '-f', '-'], { input: script, encoding: 'utf8' });
const outline = () => readOutline(table, netnsPath(netns));

before(() => {
  execFileSync('ip', ['netns', 'add', netns]);
});
after(() => {
  execFileSync('ip', ['netns', 'delete', netns]);
});

test('the outline of a table has its chains, rules and sets, and does not see elements or other tables', () => {
  assert.equal(outline(), undefined);
  nft(`table ip weft-test {
    set s { type ipv4_addr; }
    map m { type ipv4_addr : verdict; }
    chain a { ip daddr @s drop; accept; }
    chain b { type filter hook input priority 0; ip daddr vmap @m; }
  }
  table ip6 weft-test { chain other { accept; }
  }`);
  const first = outline();
  assert.deepEqual([...(first?.chains ?? [])].sort(), [
    ['a', 2],
    ['b', 1],
  ]);
  assert.deepEqual([...(first?.sets ?? [])].sort(), ['m', 's']);
  nft('add element ip weft-test s { 10.0.0.1 }; add element ip weft-test m { 10.0.0.1 : goto a }');
  assert.equal(outline()?.fingerprint, first?.fingerprint);
});

test('the outline changes with each chain, rule and set', () => {
  const seen = new Set([outline()?.fingerprint]);
  const changes = [
    'add rule ip weft-test b drop',
    'add chain ip weft-test c',
    'add set ip weft-test t { type inet_service; }',
    'flush chain ip weft-test b',
    'delete table ip weft-test',
  ];
  for (const change of changes) {
    nft(change);
    const now = outline()?.fingerprint;
    assert.ok(!seen.has(now), change);
    seen.add(now);
  }
});
