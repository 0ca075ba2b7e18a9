// Measures the DNS server on one core beside Debian's NSD, Knot, Unbound and dnsmasq with the same names: answers a
// second, processor time for each, latency at half of that load; its memory; how soon a change is in its answers. Then
// Weft and Knot with one and two threads, over UDP, TCP and for reverse names.
// Usage: scripts/node bench/dns.ts [SECONDS [small|many|large|threads]]   (as root; needs dnsperf; servers that are not installed are left out)
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { questionEnd, readHeader, readRecords, writeQuery } from '../src/dns/wire.ts';
import { type Api, addressOf, headless, slice, startApi } from './dns/api.ts';
import { type Candidate, candidates, type Started, startServer, stopServer } from './dns/servers.ts';

const run = promisify(execFile);
const [duration = '3', only] = process.argv.slice(2);
const seconds = Number(duration);
const clientCore = '0';
const serverCore = '1';
const ticksPerSecond = 100;
const realtime = ['chrt', '--rr', '1'] as const;
/** dnsperf gives times that are its own where it is asked for more. */
const mostMeasured = 40_000;
const zone = 'cluster.local';

/** A port that is free now: name servers cannot be asked for any. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

const sets: Record<string, (services: number) => string[]> = {
  hits: (services) => picks(services, (index) => `svc-${index}.default.svc.${zone} A`),
  nxdomain: (services) => picks(services, (index) => `none-${index}.default.svc.${zone} A`),
  srv: (services) => picks(services, (index) => `_http._tcp.svc-${index}.default.svc.${zone} SRV`),
  headless: () => [`${headless.name}.default.svc.${zone} A`],
};

const reverse = (services: number): string[] =>
  picks(services, (index) => `${addressOf(index).split('.').reverse().join('.')}.in-addr.arpa PTR`);

/** The same questions for all servers, in an order that no cache foresees. */
function picks(services: number, line: (index: number) => string): string[] {
  return Array.from({ length: Math.min(services, 50_000) }, (_, turn) => line((turn * 7919) % services));
}

/** Processor time of a process and all that it has started, in seconds. */
function processorTime(pid: number): number {
  let ticks = 0;
  const parents = new Map<number, number>();
  const own = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      parents.set(Number(entry), Number(fields[1]));
      own.set(Number(entry), Number(fields[11]) + Number(fields[12]));
    } catch {
      // It has ended.
    }
  }
  for (const [entry, spent] of own) {
    let ancestor: number | undefined = entry;
    while (ancestor !== undefined && ancestor !== pid) ancestor = parents.get(ancestor);
    if (ancestor === pid) ticks += spent;
  }
  return ticks / ticksPerSecond;
}

interface Figures {
  readonly rate: number;
  /** Microseconds of processor time for each answer. */
  readonly cpu: number;
  readonly lost: number;
}

interface LoadOptions {
  /** The cores of the client. */
  readonly cores?: string;
  /** Of `dnsperf`. */
  readonly more?: readonly string[];
  /** Before all else that the machine does: what others take is not the server's. */
  readonly first?: boolean;
}

/** Asks the questions in a file; what dnsperf prints goes to another one, so that nobody is kept waiting by its reader. */
async function load(
  file: string,
  port: number,
  pid: number,
  { cores = clientCore, more = [], first = false }: LoadOptions = {},
): Promise<Figures & { output: string }> {
  const before = processorTime(pid);
  const out = openSync(`${file}.out`, 'w');
  const command = ['taskset', '-c', cores, 'dnsperf', '-s', '127.0.0.1', '-p', String(port), '-d', file, '-e'];
  const [program = '', ...args] = [...(first ? realtime : []), ...command, '-l', String(seconds), ...more];
  const child = spawn(program, args, { stdio: ['ignore', out, 'ignore'] });
  await once(child, 'exit');
  closeSync(out);
  const stdout = readFileSync(`${file}.out`, 'utf8');
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  const answers = number(/Queries completed:\s+(\d+)/);
  return {
    rate: number(/Queries per second:\s+([\d.]+)/),
    cpu: ((processorTime(pid) - before) / answers) * 1e6,
    lost: number(/Queries lost:\s+(\d+)/),
    output: stdout,
  };
}

const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;

/** Latencies in ms, as dnsperf tells them one by one. */
const latencies = (output: string): number[] =>
  [...output.matchAll(/^> \S+ \S+ \S+ ([\d.]+)$/gm)].map(([, text]) => Number(text) * 1000);

async function answers(port: number, name: string): Promise<Buffer | undefined> {
  const socket = createSocket('udp4');
  try {
    socket.send(writeQuery(1, name, 1), port, '127.0.0.1');
    const [message]: Buffer[] = await once(socket, 'message', { signal: AbortSignal.timeout(200) });
    return message;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

async function answering(port: number, name: string): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await delay(50)) {
    const message = await answers(port, name);
    if (message !== undefined && (readHeader(message)?.answers ?? 0) > 0) return;
  }
  throw new Error(`nobody answers at port ${port} within 60 s`);
}

/** A field of /proc/PID/status, in MB. */
const memory = (pid: number, field: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

async function withServer(
  candidate: Candidate,
  services: number,
  api: Api,
  work: (server: Started, port: number, folder: string) => Promise<void>,
  { cores = serverCore, threads = 1 } = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-dns-'));
  const port = await freePort();
  const server = startServer(candidate, candidate.command(folder, services, port, api.url, threads), cores);
  try {
    await answering(port, `svc-${services - 1}.default.svc.${zone}`);
    await work(server, port, folder);
  } finally {
    await stopServer(server);
    rmSync(folder, { recursive: true, force: true });
  }
}

const full = ['-c', '20', '-q', '200'];

/** Whether a process runs before all else that the machine does, as the client then does. */
function runFirst(pid: number, first: boolean): void {
  execFileSync('chrt', ['--all-tasks', first ? '--rr' : '--other', '--pid', first ? '1' : '0', String(pid)]);
}

async function compare(services: number): Promise<void> {
  const api = await startApi({ services, endpoints: 0 });
  console.log(`\n${services.toLocaleString('en')} Services: answers a second (µs of processor time each)`);
  console.log(['', ...Object.keys(sets), 'p50/p99 at half load', 'memory'].map((text) => text.padStart(20)).join(''));
  const rates = new Map<string, number>();
  for (const candidate of candidates) {
    if (candidate.program === undefined) continue;
    await withServer(candidate, services, api, async ({ pid }, port, folder) => {
      const cells: string[] = [];
      let half = 0;
      for (const [name, lines] of Object.entries(sets)) {
        if (candidate.without?.includes(name)) {
          cells.push('–');
          continue;
        }
        const file = join(folder, `${name}.txt`);
        writeFileSync(file, `${lines(services).join('\n')}\n`);
        // Each name once before: what a server writes at the first question, or reads from memory, is not measured.
        await run('dnsperf', ['-s', '127.0.0.1', '-p', String(port), '-d', file, '-e', '-n', '1']);
        const { rate, cpu, lost } = await load(file, port, pid, { more: full });
        rates.set(`${candidate.name} ${name}`, rate);
        if (name === 'hits') half = Math.round(rate / 2);
        cells.push(`${Math.round(rate)} (${cpu.toFixed(1)})${lost > 0 ? ` -${lost}` : ''}`);
      }
      runFirst(pid, true);
      const more = ['-c', '20', '-Q', String(Math.min(half, mostMeasured)), '-v'];
      const { output } = await load(join(folder, 'hits.txt'), port, pid, { more, first: true });
      runFirst(pid, false);
      const all = latencies(output);
      cells.push(`${quantile(all, 0.5).toFixed(2)}/${quantile(all, 0.99).toFixed(2)} ms`);
      cells.push(`${Math.round(memory(pid, 'VmRSS'))} MB`);
      console.log([candidate.name, ...cells].map((text) => text.padStart(20)).join(''));
    });
  }
  for (const name of Object.keys(sets)) {
    const share = (rates.get(`Weft ${name}`) ?? Number.NaN) / (rates.get(`Knot ${name}`) ?? Number.NaN);
    if (!Number.isNaN(share)) console.log(`  ${name}: ${Math.round(share * 100)} % of Knot's rate (goal 80 %)`);
  }
  api.close();
}

/** Asks again and again until an answer has the address; how long that took, in ms. */
function seen(socket: Socket, port: number, name: string, last: number): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const ask = (): void => socket.send(writeQuery(1, name, 1), port, '127.0.0.1');
    const take = (message: Buffer): void => {
      const [record] = readRecords(message, questionEnd(message), Math.min(1, readHeader(message)?.answers ?? 0));
      if (record?.data[3] === last) {
        socket.off('message', take);
        resolve(performance.now() - begun);
      } else ask();
    };
    socket.on('message', take);
    ask();
  });
}

/** A large cluster: memory, and how soon a change of an EndpointSlice is in the answers. */
async function large(): Promise<void> {
  const [weft] = candidates;
  if (weft === undefined) return;
  const content = { services: 10_000, endpoints: 15 };
  const api = await startApi(content);
  await withServer(weft, content.services, api, async ({ pid }, port) => {
    await answering(port, `${headless.name}.default.svc.${zone}`);
    await delay(3000);
    const [now, most] = [memory(pid, 'VmRSS'), memory(pid, 'VmHWM')];
    console.log(
      `\n10,000 Services with 150,000 pods: ${Math.round(now)} MB, ${Math.round(most)} MB at most (goal 300 MB)`,
    );
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const times: number[] = [];
    for (let round = 0; round < 200; round++) {
      const last = 1 + (round % 200);
      const time = seen(socket, port, `${headless.name}.default.svc.${zone}`, last);
      api.change(slice(headless.name, [`10.198.0.${last}`], String(round + 2)));
      times.push(await time);
    }
    socket.close();
    const [median, slow] = [quantile(times, 0.5), quantile(times, 0.99)].map((ms) => ms.toFixed(1));
    console.log(`A changed EndpointSlice is in the answers after ${median} ms (p50), ${slow} ms (p99) (goal 50 ms)`);
  });
  api.close();
}

/** Several threads, on all cores but those of the client; where there are two, they share them with it. */
async function compareThreads(): Promise<void> {
  const services = 1000;
  const cores = availableParallelism();
  const [clientCores, serverCores] = cores < 4 ? ['0-1', '0-1'] : ['0-1', `2-${cores - 1}`];
  console.log(`\nThreads, on ${cores} cores: answers a second (µs of processor time each)`);
  console.log(['', 'threads', 'UDP', 'TCP', 'reverse', 'memory'].map((text) => text.padStart(20)).join(''));
  for (const candidate of candidates.filter(({ program, hasThreads }) => program !== undefined && hasThreads === true))
    for (const threads of candidate.name === 'Weft' ? [0, 1, 2] : [1, 2]) {
      const corefile = `.:53 {
  kubernetes ${zone} in-addr.arpa
  loadbalance
  ${threads > 0 ? `multisocket ${threads}` : ''}
}`;
      const api = await startApi({ services, endpoints: 0, corefile });
      await withServer(
        candidate,
        services,
        api,
        async ({ pid }, port, folder) => {
          const cells: string[] = [];
          const questions = { hits: sets.hits?.(services) ?? [], reverse: reverse(services) };
          for (const [name, mode] of [
            ['hits', 'udp'],
            ['hits', 'tcp'],
            ['reverse', 'udp'],
          ] as const) {
            if (candidate.name !== 'Weft' && name === 'reverse') continue;
            const file = join(folder, name);
            writeFileSync(file, `${questions[name].join('\n')}\n`);
            const more = ['-m', mode, '-T', '2', ...full];
            await load(file, port, pid, { cores: clientCores, more: [...more, '-n', '1'] });
            const { rate, cpu, lost } = await load(file, port, pid, { cores: clientCores, more });
            cells.push(`${Math.round(rate)} (${cpu.toFixed(1)})${lost > 0 ? ` -${lost}` : ''}`);
          }
          while (cells.length < 3) cells.push('–');
          cells.push(`${Math.round(memory(pid, 'VmRSS'))} MB`);
          console.log([candidate.name, String(threads), ...cells].map((text) => text.padStart(20)).join(''));
        },
        { cores: serverCores, threads },
      );
      api.close();
    }
}

if (!existsSync('/usr/bin/dnsperf')) {
  console.error('bench/dns.ts: dnsperf is missing: apt-get install dnsperf knot nsd unbound dnsmasq-base');
  process.exit(1);
}
const parts: Readonly<Record<string, () => Promise<void>>> = {
  small: () => compare(1000),
  many: () => compare(100_000),
  large,
  threads: compareThreads,
};
for (const [name, part] of Object.entries(parts)) if (only === undefined || only === name) await part();
