// Elements are looked up while somebody writes to nftables without a pause.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { netnsPath } from '../../src/linux/netns.ts';
import { elementKey, type SetDefinition } from '../../src/linux/nft.ts';
import { getElements } from '../../src/linux/nft-get.ts';
import { asIp } from '../../src/net/address.ts';

const netns = `wt-nft-get-${process.pid}`;
const set: SetDefinition = { name: 's', key: [{ kind: 'payload', header: 'ip', field: 'saddr' }] };
const table = { family: 'ip', name: 'read' } as const;
const keys = ['10.0.0.1', '10.0.0.3', '10.0.0.2'].map((address) => elementKey(asIp(address)));
const writes = `while :; do printf 'add element ip other s { 1 }\\ndelete element ip other s { 1 }\\n'; done | nft -i`;
let writer: ChildProcess;

before(async () => {
  execFileSync('ip', ['netns', 'add', netns]);
  const made = (name: string, type: string): string => `add table ip ${name}; add set ip ${name} s { type ${type}; };`;
  const text = `${made('read', 'ipv4_addr')} ${made('other', 'mark')} add element ip read s { 10.0.0.1, 10.0.0.2 }`;
  execFileSync('ip', ['netns', 'exec', netns, 'nft', text]);
  // A process group of its own: its end is that of the whole pipe.
  writer = spawn('ip', ['netns', 'exec', netns, 'sh', '-c', writes], { detached: true, stdio: 'ignore' });
  await once(writer, 'spawn');
});

after(() => {
  if (writer?.pid !== undefined) process.kill(-writer.pid, 'SIGKILL');
  execFileSync('ip', ['netns', 'delete', netns]);
});

test('what is there is found, and what is not is not, while others write', () => {
  for (let look = 0; look < 100; look++) {
    const found = getElements(netnsPath(netns), table, set, keys);
    const isThere = found.map((element) => element !== undefined);
    assert.deepEqual(isThere, [true, false, true], `look ${look}`);
  }
});
