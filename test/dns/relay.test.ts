// The way from a node to DNS servers outside of the cluster, with real packets: two namespaces that no link joins, one as
// the node and one as the machine with its upstreams.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { replaceAddress } from '../../src/linux/addresses.ts';
import { changeLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, netnsPath } from '../../src/linux/netns.ts';
import { asIp } from '../../src/net/address.ts';

const node = `wt-relay-n-${process.pid.toString(36)}`;
const host = `wt-relay-h-${process.pid.toString(36)}`;
const folder = mkdtempSync(join(tmpdir(), 'weft-relay-'));
const started: ChildProcess[] = [];

async function start(netns: string, script: string, ...args: string[]): Promise<ChildProcess> {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, script)];
  const child = spawn('nsenter', [`--net=${netnsPath(netns)}`, ...command, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(child);
  if (child.stdout !== null) await once(child.stdout, 'data');
  return child;
}

const dig = (...args: string[]): string => {
  try {
    const options = ['+short', '+tries=1', '+time=3', ...args, 'example.org'];
    return execFileSync('nsenter', [`--net=${netnsPath(node)}`, 'dig', ...options], { encoding: 'utf8' }).trim();
  } catch {
    return 'none';
  }
};

before(async () => {
  for (const name of [node, host]) {
    createNamedNetns(name);
    using nl = Netlink.open(netnsPath(name));
    changeLink(nl, 1, { up: true });
    if (name === host)
      for (const address of ['10.0.0.53', '10.0.0.54', 'fd00::53'])
        replaceAddress(nl, { link: 1, address: asIp(address), prefix: address.includes(':') ? 128 : 32 });
  }
  const socket = join(folder, 'relay.sock');
  const places = '10.0.0.53 53,fd00::53 53,127.0.0.9 53,169.254.20.11 53';
  await Promise.all([
    start(host, 'relay-process.ts', 'host', socket, places, '10.0.0.99,10.0.0.54'),
    start(node, 'relay-process.ts', 'node', socket, places),
    ...['10.0.0.53', '10.0.0.54', 'fd00::53', '127.0.0.9'].map((ip) => start(host, 'named-upstream.ts', ip)),
  ]);
});
after(async () => {
  for (const child of started) {
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
  }
  for (const name of [node, host]) deleteNamedNetns(name);
  rmSync(folder, { recursive: true });
});

test('upstreams that are outside are asked under their own addresses, over UDP and TCP and in both families', () => {
  for (const address of ['10.0.0.53', 'fd00::53', '127.0.0.9'])
    for (const transport of ['+notcp', '+tcp']) assert.equal(dig(transport, `@${address}`), `"${address}"`);
});

test("the machine's own resolver: the next of its servers is asked where the first is silent, and from then on", () => {
  assert.equal(dig('+notcp', '@169.254.20.11'), '"10.0.0.54"');
  assert.equal(dig('+tcp', '@169.254.20.11'), '"10.0.0.54"');
});

test('nothing else is reached: neither other addresses nor other ports', () => {
  assert.equal(dig('@10.0.0.54'), 'none');
  assert.equal(dig('-p', '5353', '@10.0.0.53'), 'none');
});

test('the addresses are never the source of what a node sends', () => {
  const shown = execFileSync('ip', ['-n', node, 'address', 'show', 'lo'], { encoding: 'utf8' });
  assert.match(shown, /inet 10\.0\.0\.53\/32 scope host lo/);
  assert.match(shown, /inet6 fd00::53\/128 scope global .*deprecated/);
});
