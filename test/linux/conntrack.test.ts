// Entries of the connection table are deleted by what filters name, and no others. Needs root.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { FlowFilter } from '../../src/linux/conntrack.ts';
import { asIp } from '../../src/net/address.ts';

const namespace = `wt-ct-${Math.random().toString(36).slice(2, 7)}`;
const inside = (...argv: string[]): string =>
  execFileSync('ip', ['netns', 'exec', namespace, ...argv], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** A flow from a client to an address, answered from another one. */
function insert(client: string, to: string, port: number, answered: string, protocol = 'udp'): void {
  const original = `--orig-src ${client} --orig-dst ${to} --orig-port-src 1000 --orig-port-dst ${port}`;
  const reply = `--reply-src ${answered} --reply-dst ${client} --reply-port-src 8080 --reply-port-dst 1000`;
  const state = protocol === 'tcp' ? ' --state ESTABLISHED' : '';
  inside('conntrack', ...`-I -p ${protocol} -t 300 ${original} ${reply}${state}`.split(' '));
}

/** What is left: `client address:port answerer`. */
const left = (): string[] =>
  ['ipv4', 'ipv6']
    .flatMap((family) => inside('conntrack', '-L', '-f', family).split('\n'))
    .map((line) => [...line.matchAll(/(?:src|dst|dport)=(\S+)/g)].map(([, value]) => value))
    .filter((parts) => parts.length > 3)
    .map(([client, to, port, answered]) => `${client} ${to} ${port} ${answered}`)
    .sort();

function deleteFlows(...filters: FlowFilter[]): number {
  const program = join(import.meta.dirname, 'conntrack-process.ts');
  const output = inside(process.execPath, '--disable-warning=ExperimentalWarning', program, JSON.stringify(filters));
  return Number(output);
}

describe('the connection table', () => {
  before(() => {
    execFileSync('ip', ['netns', 'add', namespace]);
    for (const client of ['10.1.0.1', '10.1.0.2']) {
      insert(client, '10.96.0.10', 53, '10.244.1.2');
      insert(client, '10.96.0.10', 54, '10.244.1.3');
    }
    insert('10.1.0.3', '10.96.0.10', 53, '10.244.1.3');
    insert('10.1.0.3', '10.96.0.11', 53, '10.244.1.2');
    insert('10.1.0.4', '10.96.0.10', 53, '10.244.1.2', 'tcp');
    insert('fd01::1', 'fd96::a', 53, 'fd44::2');
    insert('fd01::2', 'fd96::b', 53, 'fd44::2');
  });
  after(() => execFileSync('ip', ['netns', 'delete', namespace]));

  test('a filter takes what was sent there and answered from there', () => {
    const flow = { protocol: 'udp', destination: asIp('10.96.0.10'), port: 53 } as const;
    assert.equal(deleteFlows({ ...flow, replySource: asIp('10.244.1.2') }), 2);
    assert.equal(deleteFlows({ ...flow, replySource: asIp('10.244.1.2') }), 0);
    assert.equal(left().length, 7);
  });

  test('several filters of both families are one call', () => {
    const count = deleteFlows(
      { protocol: 'udp', destination: asIp('10.96.0.10'), port: 54 },
      { protocol: 'udp', port: 53 },
      { protocol: 'udp', destination: asIp('fd96::a'), port: 53 },
    );
    assert.deepEqual(left(), ['10.1.0.4 10.96.0.10 53 10.244.1.2', 'fd01::2 fd96::b 53 fd44::2']);
    assert.equal(count, 5);
  });
});
