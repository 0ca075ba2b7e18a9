// Measures the CNI plugin beside Debian's reference plugins bridge and host-local (package containernetworking-plugins).
// Usage: scripts/node bench/cni.ts [PODS]   (as root; all of it happens in namespaces of its own)
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** A plugin that can be called for one container; throws when the call fails. */
type Call = (command: 'ADD' | 'DEL', id: string, netns: string) => Promise<void>;

function run(program: string, env: Record<string, string>, config: object, node?: string): Promise<void> {
  const start = () => spawn(program, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const child = node === undefined ? start() : inNetns(netnsPath(node), start);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  child.stdin.end(JSON.stringify(config));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => (status === 0 ? resolve() : reject(new Error(`${program}: ${output}`))));
  });
}

function caller(program: string, config: object, node?: string): Call {
  return (command, id, netns) => {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      // Both plugins attach to the same namespaces.
      CNI_IFNAME: program.startsWith(referenceDir) ? 'net0' : 'eth0',
      CNI_PATH: referenceDir,
    };
    return run(program, env, config, node);
  };
}

interface Timing {
  readonly p50: number;
  readonly p99: number;
  /** All of them together, in ms. */
  readonly total: number;
}

/** Calls once for each namespace, so many at a time. */
async function timed(call: Call, command: 'ADD' | 'DEL', netns: readonly string[], parallel: number): Promise<Timing> {
  const times: number[] = [];
  const waiting = netns.entries();
  const begin = performance.now();
  const worker = async (): Promise<void> => {
    for (const [index, path] of waiting) {
      const started = performance.now();
      await call(command, `bench-${index}`, path);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  const total = performance.now() - begin;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), total };
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

async function main(): Promise<void> {
  await using lab = new Lab({ clusterCidrs: ['10.0.0.0/8'] });
  const [ours, theirs] = [lab.addNode([range]), lab.addNode([range])];
  await lab.start([ours]);
  const state = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  const namespaces = Array.from({ length: Math.max(pods, many) }, () => lab.addPod().path);
  const weft = caller(join(ours.root, 'bin/weft-cni'), { cniVersion: '1.0.0', name: 'weft', type: 'weft-cni' });
  const reference = caller(
    join(referenceDir, 'bridge'),
    {
      cniVersion: '1.0.0',
      name: 'reference',
      type: 'bridge',
      bridge: 'cni0',
      isDefaultGateway: true,
      hairpinMode: true,
      ipam: { type: 'host-local', dataDir: state, ranges: [[{ subnet: '10.1.0.0/16' }]] },
    },
    theirs.netns,
  );
  const haveReference = existsSync(join(referenceDir, 'bridge'));
  if (!haveReference) console.log(`${referenceDir}/bridge is not there (apt-get install containernetworking-plugins)`);
  // Code that has just started is slow in both: the first calls are not counted.
  for (const call of haveReference ? [weft, reference] : [weft])
    for (const command of ['ADD', 'DEL'] as const) await timed(call, command, namespaces.slice(0, 30), 1);
  for (const parallel of [1, 20])
    for (const command of ['ADD', 'DEL'] as const) {
      const some = namespaces.slice(0, pods);
      const beside = haveReference ? await timed(reference, command, some, parallel) : undefined;
      if (beside !== undefined) print(`${command}, ${parallel} at a time, bridge + host-local`, beside);
      print(`${command}, ${parallel} at a time, weft`, await timed(weft, command, some, parallel), beside);
    }
  const all = namespaces.slice(0, many);
  print(`${many} ADDs, 20 at a time, weft`, await timed(weft, 'ADD', all, 20));
  print(`${many} DELs, 20 at a time, weft`, await timed(weft, 'DEL', all, 20));
  for (const held of [10, 1_000, 10_000]) {
    const node = lab.addNode([range]);
    mkdirSync(join(node.root, 'state'), { recursive: true });
    fill(join(node.root, 'state'), held);
    await lab.start([node]);
    const full = caller(join(node.root, 'bin/weft-cni'), { cniVersion: '1.0.0', name: 'weft', type: 'weft-cni' });
    const some = namespaces.slice(0, 50);
    print(`ADD, ${held} addresses held, weft`, await timed(full, 'ADD', some, 1));
    print(`DEL, ${held} addresses held, weft`, await timed(full, 'DEL', some, 1));
    await lab.kill(node);
  }
  rmSync(state, { recursive: true, force: true });
}

await main();
