// Measures how fast the mode iptables gets Services into the kernel, beside one bare iptables-restore --noflush of the same
// rules, which is how kube-proxy writes them; with both backends of iptables.
// Usage: scripts/node bench/iptables.ts [SERVICES…]   (as root; in namespaces of its own. A bare restore with the nftables
// backend takes time with the square of the Services: it is left out where there are more than 3,000.)
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installedBackends } from '../src/linux/iptables-run.ts';

const endpoints = 3;
const mostBare = 3_000;
/** Other work on the machine only ever makes a run slower: the fastest of so many is taken. */
const rounds = 2;
const given = process.argv.slice(2).map(Number);
const sizes = given.length > 0 ? given : [500, 1_000, 2_000, 5_000];
const folder = mkdtempSync(join(tmpdir(), 'wb-iptables-'));
const netns = `wb-iptables-${process.pid}`;
const node = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'iptables-load.ts')];

const run = (argv: readonly string[]): string =>
  execFileSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8', maxBuffer: 1 << 30 });

function inFresh(argv: readonly string[]): string {
  run(['ip', 'netns', 'add', netns]);
  try {
    return run(['ip', 'netns', 'exec', netns, ...argv]);
  } finally {
    run(['ip', 'netns', 'delete', netns]);
  }
}

interface Load {
  readonly load: number;
  readonly change: number;
  readonly more: number;
  readonly removal: number;
}

const shown = (ms: number): string => (ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(0)} ms`);

function measure(backend: string, services: number): void {
  const counts = [String(services), String(endpoints)];
  const file = join(folder, 'rules');
  writeFileSync(file, run([...node, 'text', ...counts]));
  const script = `begin=$(date +%s%N); iptables-${backend}-restore --noflush ${file} || exit 1; echo $(( $(date +%s%N) - begin ))`;
  const withBare = backend === 'legacy' || services <= mostBare;
  const ours: Load[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(JSON.parse(inFresh([...node, backend, ...counts])));
    if (withBare) bare.push(Number(inFresh(['sh', '-c', script])) / 1e6);
  }
  const least = (of: (one: Load) => number): number => Math.min(...ours.map(of));
  const load = least((one) => one.load);
  const beside = withBare ? `${shown(Math.min(...bare))}; ours ${(load / Math.min(...bare)).toFixed(2)}x` : 'left out';
  console.log(`iptables-${backend}, ${services} Services x ${endpoints} endpoints`);
  console.log(`  full load ${shown(load)}   bare restore ${beside}`);
  console.log(
    `  one endpoint changes ${shown(least((one) => one.change))}; one Service more ${shown(least((one) => one.more))}; all removed ${shown(least((one) => one.removal))}`,
  );
}

try {
  for (const backend of installedBackends()) for (const services of sizes) measure(backend, services);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
