// Measures the CNI plugin beside Debian's reference plugins bridge and host-local (package containernetworking-plugins).
// Usage: scripts/node bench/cni.ts [PODS]   (as root; all of it happens in namespaces of its own)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { poolOf } from '../src/cni/ipam.ts';
import { LeaseStore } from '../src/cni/lease-store.ts';
import { noSettings } from '../src/cni/wishes.ts';
import { inNetns, netnsPath } from '../src/linux/netns.ts';
import { asCidr } from '../src/net/address.ts';
import { Lab } from '../test/cni/lab.ts';

const pods = Number(process.argv[2] ?? 100);
const many = 300;
const referenceDir = '/usr/lib/cni';
const range = '10.0.0.0/16';
const callsProgram = join(import.meta.dirname, 'cni-calls.pl');

/** Calls a plugin once for each namespace, so many at a time; throws when a call fails. */
type Calls = (command: 'ADD' | 'DEL', netns: readonly string[], parallel: number) => Promise<Timing>;

interface Timing {
  readonly p50: number;
  readonly p99: number;
  /** All of them together, in ms. */
  readonly total: number;
}

/** The calls of a plugin, started in the namespace of a node where one is given. */
function caller(program: string, configuration: string, node?: string): Calls {
  return async (command, netns, parallel) => {
    // Both plugins attach to the same namespaces.
    const ifname = program.startsWith(referenceDir) ? 'net0' : 'eth0';
    const argv = [callsProgram, program, command, ifname, String(parallel), configuration, ...netns];
    const start = () => spawn('perl', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    const child = node === undefined ? start() : inNetns(netnsPath(node), start);
    const [output, said] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    if (child.exitCode !== 0) throw new Error(`${command} by ${program}: ${said}`);
    const times = output.trim().split('\n').map(Number);
    const total = times.pop() ?? Number.NaN;
    times.sort((x, y) => x - y);
    const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
    return { p50: at(0.5), p99: at(0.99), total };
  };
}

const ms = (value: number): string => value.toFixed(1).padStart(8);

function print(what: string, { p50, p99, total }: Timing, beside?: Timing): void {
  const ratio = beside === undefined ? '' : `   ${(p50 / beside.p50).toFixed(2)}x of the reference`;
  console.log(`${what.padEnd(42)} p50${ms(p50)} ms  p99${ms(p99)} ms  all${ms(total)} ms${ratio}`);
}

/** A lease store as it is after this many pods came, so that the daemon starts with it. */
function fill(stateDir: string, leases: number): void {
  const store = new LeaseStore(join(stateDir, 'leases.db'));
  for (let index = 0; index < leases; index++) {
    const attachment = { containerId: `held-${index}`, ifname: 'eth0' };
    const lease = { attachment, network: 'weft', netns: '/proc/self/ns/net', pod: '', settings: noSettings };
    store.acquire(lease, [{ pools: [poolOf(asCidr(range))] }]);
  }
  store.close();
}

/** Writes the configuration that a plugin gets on its standard input; returns the file. */
function configuration(dir: string, config: { readonly name: string; readonly [field: string]: unknown }): string {
  const file = join(dir, `${config.name}.conf.json`);
  writeFileSync(file, JSON.stringify(config));
  return file;
}

async function main(): Promise<void> {
  await using lab = new Lab({ clusterCidrs: ['10.0.0.0/8'] });
  const [ours, theirs] = [lab.addNode([range]), lab.addNode([range])];
  await lab.start([ours]);
  const state = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  const namespaces = Array.from({ length: Math.max(pods, many) }, () => lab.addPod().path);
  const own = configuration(state, { cniVersion: '1.0.0', name: 'weft', type: 'weft-cni' });
  const weft = caller(join(ours.root, 'bin/weft-cni'), own);
  const theirOwn = configuration(state, {
    cniVersion: '1.0.0',
    name: 'reference',
    type: 'bridge',
    bridge: 'cni0',
    isDefaultGateway: true,
    hairpinMode: true,
    ipam: { type: 'host-local', dataDir: state, ranges: [[{ subnet: '10.1.0.0/16' }]] },
  });
  const reference = caller(join(referenceDir, 'bridge'), theirOwn, theirs.netns);
  const haveReference = existsSync(join(referenceDir, 'bridge'));
  if (!haveReference) console.log(`${referenceDir}/bridge is not there (apt-get install containernetworking-plugins)`);
  // Code that has just started is slow in both: the first calls are not counted.
  for (const call of haveReference ? [weft, reference] : [weft])
    for (const command of ['ADD', 'DEL'] as const) await call(command, namespaces.slice(0, 30), 1);
  for (const parallel of [1, 20])
    for (const command of ['ADD', 'DEL'] as const) {
      const some = namespaces.slice(0, pods);
      const beside = haveReference ? await reference(command, some, parallel) : undefined;
      if (beside !== undefined) print(`${command}, ${parallel} at a time, bridge + host-local`, beside);
      print(`${command}, ${parallel} at a time, weft`, await weft(command, some, parallel), beside);
    }
  const all = namespaces.slice(0, many);
  print(`${many} ADDs, 20 at a time, weft`, await weft('ADD', all, 20));
  print(`${many} DELs, 20 at a time, weft`, await weft('DEL', all, 20));
  for (const held of [10, 1_000, 10_000]) {
    const node = lab.addNode([range]);
    mkdirSync(join(node.root, 'state'), { recursive: true });
    fill(join(node.root, 'state'), held);
    await lab.start([node]);
    const full = caller(join(node.root, 'bin/weft-cni'), own);
    const some = namespaces.slice(0, 50);
    print(`ADD, ${held} addresses held, weft`, await full('ADD', some, 1));
    print(`DEL, ${held} addresses held, weft`, await full('DEL', some, 1));
    await lab.kill(node);
  }
  rmSync(state, { recursive: true, force: true });
}

await main();
