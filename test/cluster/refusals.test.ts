// What `up` refuses before it makes anything, and what it says.
import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { leftovers, Machine } from './machine.ts';

const machine = new Machine();
after(() => rmSync(machine.home, { recursive: true, force: true }));

const refusals: readonly { readonly rule: string; readonly args: readonly string[]; readonly says: RegExp }[] = [
  {
    rule: 'overlapping ranges',
    args: ['--pod-cidr', '10.96.0.0/12'],
    says: /--pod-cidr 10\.96\.0\.0\/12 and --service-cidr 10\.96\.0\.0\/16 overlap/,
  },
  {
    rule: 'a range too small for the nodes',
    args: ['--pod-cidr', '10.244.0.0/23', '--nodes', '3'],
    says: /10\.244\.0\.0\/23 is too small for 3 nodes/,
  },
  {
    rule: 'two ranges of one family',
    args: ['--pod-cidr', '10.244.0.0/16,10.245.0.0/16'],
    says: /'10\.244\.0\.0\/16,10\.245\.0\.0\/16': both ranges are IPv4/,
  },
  {
    rule: 'pods of both families with Services of one',
    args: ['--pod-cidr', '10.244.0.0/16,fd00:1::/56', '--service-cidr', '10.96.0.0/16'],
    says: /is IPv4,IPv6 and --service-cidr 10\.96\.0\.0\/16 is IPv4: both must have the same families/,
  },
  {
    rule: 'an IPv6 range too small for the nodes',
    args: ['--pod-cidr', 'fd00:1::/63', '--nodes', '3'],
    says: /fd00:1::\/63 is too small for 3 nodes: each takes a \/64, and it holds 2/,
  },
  { rule: 'a bad CIDR', args: ['--pod-cidr', '10.244.0.0/40'], says: /'10\.244\.0\.0\/40': not an address range/ },
  { rule: 'an unknown option', args: ['--nodez', '3'], says: /unknown option '--nodez'/ },
  { rule: 'a bad name', args: ['--name', 'No_Name'], says: /cluster name 'No_Name'/ },
  {
    rule: 'a fabric that is not there',
    args: ['--fabric', 'carrier-pigeon'],
    says: /'carrier-pigeon': there is host-gw/,
  },
  { rule: 'a missing settings file', args: ['--config', '/nonexistent'], says: /--config \/nonexistent/ },
];

for (const { rule, args, says } of refusals)
  test(`${rule}: refused with one line and status 2, and nothing is made`, async () => {
    const name = args.includes('--name') ? [] : ['--name', 'wtno'];
    const result = await machine.weft('up', ...name, ...args);
    assert.equal(result.code, 2, result.stderr);
    assert.match(result.stderr, says);
    assert.deepEqual(leftovers('wtno', machine), []);
    assert.equal(existsSync(machine.kubeconfig), false);
  });

test('a taken port is refused and named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const result = await machine.weft('up', '--name', 'wtno', '--api-port', String(port));
  server.close();
  assert.equal(result.code, 2);
  assert.match(result.stderr, new RegExp(`127\\.0\\.0\\.1:${port} is in use`));
  assert.deepEqual(leftovers('wtno', machine), []);
});

test('a kubeconfig that cannot be read is refused before anything is made', async () => {
  const file = join(machine.home, 'broken');
  writeFileSync(file, 'a: [');
  const result = await machine.weft('up', '--name', 'wtno', '--kubeconfig', file);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /kubeconfig .*broken: is no readable YAML/);
  assert.deepEqual(leftovers('wtno', machine), []);
});

test('commands on a cluster that is not there say how to make it', async () => {
  for (const args of [['kubeconfig'], ['status'], ['node', 'exec', 'worker']]) {
    const command = args.includes('exec') ? ['--', 'true'] : [];
    const result = await machine.weft(...args, '--name', 'wtno', ...command);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /there is no cluster 'wtno'; make it by '\.\/weft up --name wtno'/);
  }
  assert.equal((await machine.weft('down', '--name', 'wtno')).code, 0);
});

test('every command explains itself', async () => {
  for (const command of ['demo', 'up', 'down', 'status', 'kubeconfig', 'node', 'image']) {
    const result = await machine.weft(command, '--help');
    assert.equal(result.code, 0);
    assert.match(result.stdout, /Usage: weft/);
  }
});
