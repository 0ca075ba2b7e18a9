// What the command line says to a wrong use of it: one line that names what is wrong, and the exit status. None of these
// needs a cluster; one that is named so does not exist.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { CommanderError } from 'commander';
import { failureOf, UsageError } from './output.ts';
import { weftProgram } from './program.ts';

const folder = mkdtempSync(join(tmpdir(), 'weft-usage-'));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** What the program ends with; the run must fail. */
async function failure(argv: readonly string[]): Promise<ReturnType<typeof failureOf>> {
  try {
    await weftProgram().parseAsync(['node', 'weft', ...argv]);
  } catch (error) {
    if (error instanceof CommanderError) throw error;
    return failureOf(error);
  }
  throw new Error(`weft ${argv.join(' ')} was accepted`);
}

type Case = readonly [argv: readonly string[], says: RegExp];

const other = ['--name', 'wtusage'];
const peer = ['bgp', 'peer', 'add', 'tor'];
const router = ['--address', '192.0.2.1', '--as', '64600'];

/** Wrong whatever the cluster is: told before one is looked for, with the exit status 2. */
const usage: readonly Case[] = [
  [['foo'], /^unknown command 'foo'; see \.\/weft --help$/],
  [['up', 'foo'], /^too many arguments for 'up'\. Expected 0 arguments but got 1: foo; see \.\/weft up --help$/],
  [['up', '--nodez', '3'], /^unknown option '--nodez' \(Did you mean --nodes\?\); see \.\/weft up --help$/],
  [['up', '--name'], /^option '--name <name>' argument missing/],
  [['up', '--name', 'No_Name'], /^cluster name 'No_Name': must be at most 40/],
  [['up', ...other, '--nodes', 'foo'], /^--nodes 'foo': must be a whole number/],
  [['up', ...other, '--nodes', '1', '--nodes', '0'], /^--nodes 0: must be from 1 to 100/],
  [['up', ...other, '--pod-cidr', 'foo'], /^--pod-cidr 'foo': not an address range/],
  [['up', ...other, '--service-cidr', ''], /^--service-cidr '': not an address range/],
  [['up', ...other, '--node-port-range', '5-3'], /^--node-port-range '5-3': not a range of ports/],
  [['up', ...other, '--fabric', 'foo'], /^--fabric 'foo': there is host-gw, router, vxlan, bgp$/],
  [['up', ...other, '--cross-subnet'], /^--cross-subnet is an option of --fabric vxlan; the fabric is host-gw$/],
  [['up', ...other, '--proxy-mode', 'foo'], /^--proxy-mode 'foo': there is nftables, iptables, ipvs$/],
  [
    ['up', ...other, '--ipvs-scheduler', 'lc'],
    /^--ipvs-scheduler is an option of the proxy mode ipvs, not of nftables$/,
  ],
  [
    ['up', ...other, '--lb-pool', 'foo'],
    /^--lb-pool 'foo' is no range such as 192\.0\.2\.0\/28 or 192\.0\.2\.4-192\.0\.2\.9$/,
  ],
  [['up', ...other, '--lb-pool', '192.0.2.0/28,foo'], /^--lb-pool '192\.0\.2\.0\/28,foo': 'foo' is no range/],
  [['up', ...other, '--api-port', '0'], /^--api-port '0': must be from 1 to 65535$/],
  [['up', ...other, '--config', '/nonexistent'], /^--config \/nonexistent cannot be read: ENOENT: no such file/],
  [['up', ...other, '--config', file('a', 'a: [')], /^--config .*a is no YAML: .*at line 1, column 5$/],
  [
    ['up', ...other, '--config', file('b', 'foo: 1')],
    /^--config .*b: there is no setting 'foo'; there are name, nodes/,
  ],
  [['up', ...other, '--config', file('c', 'text')], /^--config .*c: expected settings such as 'nodes: 3'$/],
  [['down', ...other, '--all'], /^option '--name <name>' cannot be used with option '--all'/],
  [['status', '-o', 'yaml'], /argument 'yaml' is invalid\. Allowed choices are json; see \.\/weft status --help$/],
  [['status', '--name', 'No_Name'], /^cluster name 'No_Name'/],
  [['node', 'foo'], /^unknown command 'foo'; see \.\/weft node --help$/],
  [['node', 'exec', 'worker'], /^missing required argument 'command'; see \.\/weft node exec --help$/],
  [['fabric', 'set'], /^missing required argument 'kind'; see \.\/weft fabric set --help$/],
  [['fabric', 'set', 'foo'], /^fabric 'foo': there is host-gw, router, vxlan, bgp$/],
  [['fabric', 'set', 'host-gw', '--cross-subnet'], /^--cross-subnet is an option of vxlan/],
  [['fabric', 'set', 'bgp', '--encrypt'], /^--encrypt is an option of the fabrics host-gw and vxlan/],
  [['fabric', 'set', 'vxlan', '--encrypt', '--cross-subnet'], /leave one of them out$/],
  [['proxy', 'mode', 'foo'], /^proxy mode 'foo': there is nftables, iptables, ipvs$/],
  [['proxy', 'mode', 'a', 'b'], /^too many arguments for 'mode'/],
  [['underlay', 'slow', 'worker'], /^say how slow: --rate/],
  [['underlay', 'slow', 'worker', '--rate', 'foo'], /^--rate 'foo': must be from 8kbit to 100gbit/],
  [['bgp', 'peer', 'add'], /^required option '--address <ip>' not specified; see \.\/weft bgp peer add --help$/],
  [[...peer, '--address', 'foo', '--as', '64600'], /^--address "foo": must be an IP address$/],
  [[...peer, '--address', '192.0.2.1', '--as', '0'], /^--as 0: must be a whole number from 1 to 4294967294$/],
  [[...peer, ...router, '--accept', '10.0.0.0/8,foo'], /^--accept "foo": must be a range such as 10\.0\.0\.0\/8$/],
  [[...peer, ...router, '--advertise', 'foo'], /^--advertise "foo": must be 'own' or 'cluster'$/],
  [[...peer, ...router, '--multihop', '1'], /^--multihop 1: must be a whole number from 2 to 255$/],
  [['bgp', 'peer', 'add', 'a b', ...router], /^the name "a b": must be a DNS label/],
  [['dns', 'lookup', ''], /^'' is no name/],
  [['dns', 'lookup', 'a..b'], /^'a\.\.b' is no name/],
  [['dns', 'lookup', 'a', '--type', 'FOO'], /^--type: 'FOO' is no type of records/],
  [['dns', 'log', '--folow'], /^unknown option '--folow' \(Did you mean --follow\?\); see \.\/weft dns log --help$/],
  [['service', ''], /^the name of the Service is empty/],
  [['image', 'list', 'x'], /^too many arguments for 'list'/],
];

describe('a wrong use is told in one line, before a cluster is looked for, with the exit status 2', () => {
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [argv, says] of usage)
    test(`weft ${argv.join(' ')}`, async () => {
      const { line, exitCode } = await failure(argv);
      assert.match(line, says);
      assert.equal(exitCode, 2);
    });
});

describe('a command on a cluster that is not there says how to make it, with the exit status 1', () => {
  const commands = [
    ...['status', 'kubeconfig', 'node add', 'node remove worker', 'node exec worker true', 'node shell worker'],
    ...['fabric', 'fabric set vxlan', 'proxy', 'proxy mode iptables', 'underlay', 'underlay cut worker'],
    ...['underlay slow worker --loss 5', 'underlay heal', 'bgp status', 'bgp peer remove tor'],
    ...['dns', 'dns lookup web', 'dns log', 'service web', 'image import some.tar'],
  ];
  for (const command of commands)
    test(`weft ${command}`, async () => {
      const words = command.split(' ');
      // `node exec` takes what stands after the node as the command's.
      const argv = command.startsWith('node exec')
        ? ['node', 'exec', ...other, 'worker', 'true']
        : [...words, ...other];
      const { line, exitCode } = await failure(argv);
      assert.equal(line, "there is no cluster 'wtusage'; make it by './weft up --name wtusage'");
      assert.equal(exitCode, 1);
    });
});

test('an error of several lines is told in one', () => {
  assert.deepEqual(failureOf(new Error('first:\n  second\n\nthird\n')), { line: 'first: second: third', exitCode: 1 });
  assert.equal(failureOf(new UsageError('x')).exitCode, 2);
});

test('help that is asked for is no failure; help in place of a command is', async () => {
  const shown: string[] = [];
  for (const [argv, exitCode] of [
    [['--help'], 0],
    [['up', '--help'], 0],
    [[], 1],
    [['node'], 1],
  ] as const) {
    const program = weftProgram();
    const capture = (command: typeof program): void => {
      command.configureOutput({ writeOut: (text) => shown.push(text), writeErr: (text) => shown.push(text) });
      command.commands.forEach(capture);
    };
    capture(program);
    const ended = (error: unknown): boolean => error instanceof CommanderError && error.exitCode === exitCode;
    await assert.rejects(program.parseAsync(['node', 'weft', ...argv]), ended, argv.join(' '));
  }
  assert.equal(shown.filter((text) => text.startsWith('Usage: weft')).length, 4);
});
