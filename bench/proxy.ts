// Measures how fast Services get into the kernel, beside two other ways to do it:
//   limit   nft(8) reading the very same elements from a file; ours may need less, for it goes past nft's parser
//   chains  a chain for each Service and endpoint, as kube-proxy's nftables mode had it (see proxy-chains.ts)
// and, against a real API server: from a change of endpoints to the kernel, the memory of the proxy, the cold start.
// Usage: scripts/node bench/proxy.ts [SECONDS]   (as root; all of it in namespaces of its own. The chains get so many
// seconds for a load, 60 by default. They are left out where they would need a quarter of an hour, as at 44,000
// Services: a killed nft goes on in the kernel until its transaction is done, and slows what is measured next.)
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { endpointSlices } from '../src/k8s/resources.ts';
import { chainTable, oneMoreChain } from './proxy-chains.ts';
import { type Said, startBenchCluster } from './proxy-cluster.ts';
import { benchSlices, endpointAddress } from './proxy-objects.ts';

const chainSeconds = Number(process.argv[2] ?? 60);
const sizes = [
  { services: 1_000, endpoints: 3 },
  { services: 10_000, endpoints: 3 },
  { services: 44_000, endpoints: 3 },
  { services: 5_000, endpoints: 50 },
];
const mostChains = 50_000;
/** Other work on the machine only ever makes a run slower: the fastest of so many is taken. */
const rounds = 3;
const folder = mkdtempSync(join(tmpdir(), 'wb-proxy-'));
const netns = `wb-proxy-${process.pid}`;

/** Runs a program in a fresh namespace; its output, or undefined where it takes longer than `seconds`. */
async function inFresh(argv: readonly string[], seconds = 600): Promise<string | undefined> {
  execFileSync('ip', ['netns', 'add', netns]);
  try {
    const child = spawn('ip', ['netns', 'exec', netns, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [output, code] = await Promise.all([text(child.stdout), ended]);
    clearTimeout(timer);
    if (code === null) return undefined;
    if (code !== 0) throw new Error(`${argv.join(' ').slice(0, 80)} ended with status ${code}`);
    return output;
  } finally {
    execFileSync('ip', ['netns', 'delete', netns]);
  }
}

/** How long nft(8) needs for a file, in ms, in a fresh namespace; and for a second one after it. */
async function timeNft(file: string, then?: string, seconds?: number): Promise<[number, number] | undefined> {
  const timed = (one: string): string =>
    `begin=$(date +%s%N); nft -f ${one} || exit 1; echo $(( $(date +%s%N) - begin ));`;
  const output = await inFresh(['sh', '-c', timed(file) + (then === undefined ? '' : timed(then))], seconds);
  if (output === undefined) return undefined;
  const [first = 0, second = 0] = output
    .trim()
    .split('\n')
    .map((ns) => Number(ns) / 1e6);
  return [first, second];
}

interface Load {
  readonly load: number;
  readonly change: number;
  readonly more: number;
  readonly elements: number;
}

const least = <T>(all: readonly T[], by: (one: T) => number): T | undefined =>
  [...all].sort((a, b) => by(a) - by(b))[0];
const shown = (ms: number): string => (ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(1)} ms`).padStart(9);

async function measureLoad(services: number, endpoints: number): Promise<void> {
  const elements = join(folder, 'elements.nft');
  const program = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    join(import.meta.dirname, 'proxy-load.ts'),
  ];
  const ours: Load[] = [];
  const limits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(JSON.parse((await inFresh([...program, String(services), String(endpoints), elements])) ?? '{}'));
    limits.push((await timeNft(elements))?.[0] ?? Number.NaN);
  }
  const [weft, limit] = [least(ours, ({ load }) => load), Math.min(...limits)];
  if (weft === undefined) throw new Error('nothing was measured');
  const withChains = services * endpoints <= mostChains;
  const [table, one] = [join(folder, 'chains.nft'), join(folder, 'one.nft')];
  if (withChains) {
    writeFileSync(table, chainTable(services, endpoints));
    writeFileSync(one, oneMoreChain(services, endpoints));
  }
  const chains = withChains ? await timeNft(table, one, chainSeconds) : undefined;
  console.log(`${services} Services x ${endpoints} endpoints, ${weft.elements} elements`);
  const beside = (ms: number): string => `${(ms / weft.load).toFixed(1)}x of ours`;
  console.log(`  full load         ${shown(weft.load)}   ${(weft.load / limit).toFixed(2)}x of the limit`);
  console.log(`    limit           ${shown(limit)}`);
  if (!withChains) console.log('    chains     left out');
  else if (chains === undefined)
    console.log(`    chains     more than ${chainSeconds} s   more than ${beside(chainSeconds * 1000)}`);
  else console.log(`    chains          ${shown(chains[0])}   ${beside(chains[0])}`);
  console.log(`  one endpoint changes ${shown(weft.change).trim()}; one Service more ${shown(weft.more).trim()}`);
  if (chains !== undefined) console.log(`    chains: one Service more ${shown(chains[1]).trim()}`);
}

/** Changes endpoints at a steady rate; prints how long each took from the request to the kernel. */
async function measureLatency(services: number, endpoints: number, perSecond: number, seconds: number): Promise<void> {
  const begun = new Map<string, number>();
  const took: number[] = [];
  const heard = ({ seen, at }: Said): void => {
    const begin = begun.get(String(seen));
    if (begin === undefined || typeof at !== 'number') return;
    begun.delete(String(seen));
    took.push(at - begin);
  };
  const cluster = await startBenchCluster(services, endpoints);
  const proxy = await cluster.startProxy(heard);
  const first = performance.now();
  const total = perSecond * seconds;
  const pending: Promise<unknown>[] = [];
  const answered: number[] = [];
  for (let change = 0; change < total; change++) {
    const wait = first + (change * 1000) / perSecond - performance.now();
    if (wait > 0) await delay(wait);
    const service = (change * 97) % services;
    const generation = 1 + Math.floor((change * 97) / services);
    const [slice] = benchSlices(service, endpoints, generation);
    if (slice === undefined) continue;
    const { resourceVersion: _, ...metadata } = slice.metadata;
    begun.set(endpointAddress(service, 0, endpoints, generation), performance.timeOrigin + performance.now());
    const body = { metadata, endpoints: slice.endpoints };
    const asked = performance.now();
    const patched = cluster.client.patch(endpointSlices, slice.metadata, { type: 'merge', body });
    pending.push(patched.then(() => answered.push(performance.now() - asked)));
  }
  await Promise.all(pending);
  for (let waited = 0; begun.size > 0 && waited < 50; waited++) await delay(100);
  await proxy.stop();
  await cluster.stop();
  const at = (all: readonly number[], share: number): string =>
    shown(all.toSorted((a, b) => a - b)[Math.floor(all.length * share)] ?? Number.NaN).trim();
  console.log(`${perSecond} endpoint changes a second at ${services} Services, from the request to the kernel`);
  console.log(`  p50 ${at(took, 0.5)}, p99 ${at(took, 0.99)}, ${took.length} of ${total} seen`);
  console.log(`  of that, until the API server has answered: p50 ${at(answered, 0.5)}, p99 ${at(answered, 0.99)}`);
}

async function measureStart(services: number, endpoints: number): Promise<void> {
  const cluster = await startBenchCluster(services, endpoints);
  const proxy = await cluster.startProxy(() => {});
  const { rss, peak } = await proxy.memory();
  await proxy.stop();
  await cluster.stop();
  const mb = (bytes: unknown): string => `${Math.round(Number(bytes) / 1e6)} MB`;
  console.log(`the proxy's process with ${services} Services x ${endpoints} endpoints`);
  console.log(
    `  from its start to the rules in the kernel ${shown(proxy.started).trim()}, its main thread at work for ${shown(proxy.thread).trim()}; memory ${mb(rss)}, at most ${mb(peak)}`,
  );
}

try {
  for (const { services, endpoints } of sizes) await measureLoad(services, endpoints);
  await measureLatency(10_000, 3, 100, 10);
  await measureStart(44_000, 3);
  await measureStart(10_000, 50);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
