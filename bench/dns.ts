// Measures the DNS server on one core beside Debian's NSD, Knot, Unbound and dnsmasq with the same names: answers a
// second, processor time for each, latency at half of that load; its memory; how soon a change is in its answers.
// Usage: scripts/node bench/dns.ts [SECONDS]   (needs dnsperf; servers that are not installed are left out)
import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { questionEnd, readHeader, readRecords, writeQuery } from '../src/dns/wire.ts';
import { type Api, headless, slice, startApi } from './dns/api.ts';
import { type Candidate, candidates, type Started, startServer, stopServer } from './dns/servers.ts';

const run = promisify(execFile);
const seconds = Number(process.argv[2] ?? 3);
const [clientCore, serverCore] = [0, 1];
const ticksPerSecond = 100;
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

async function load(
  file: string,
  port: number,
  pid: number,
  more: readonly string[] = [],
): Promise<Figures & { output: string }> {
  const before = processorTime(pid);
  const { stdout } = await run(
    'taskset',
    [
      '-c',
      String(clientCore),
      'dnsperf',
      '-s',
      '127.0.0.1',
      '-p',
      String(port),
      '-d',
      file,
      '-e',
      '-l',
      String(seconds),
      ...more,
    ],
    { maxBuffer: 1 << 30 },
  );
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
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-dns-'));
  const port = await freePort();
  const server = startServer(candidate, candidate.command(folder, services, port, api.url), serverCore);
  try {
    await answering(port, `svc-${services - 1}.default.svc.${zone}`);
    await work(server, port, folder);
  } finally {
    await stopServer(server);
    rmSync(folder, { recursive: true, force: true });
  }
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
        const { rate, cpu, lost } = await load(file, port, pid, ['-c', '20', '-q', '200']);
        rates.set(`${candidate.name} ${name}`, rate);
        if (name === 'hits') half = Math.round(rate / 2);
        cells.push(`${Math.round(rate)} (${cpu.toFixed(1)})${lost > 0 ? ` -${lost}` : ''}`);
      }
      const { output } = await load(join(folder, 'hits.txt'), port, pid, ['-c', '20', '-Q', String(half), '-v']);
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

if (!existsSync('/usr/bin/dnsperf')) {
  console.error('bench/dns.ts: dnsperf is missing: apt-get install dnsperf knot nsd unbound dnsmasq-base');
  process.exit(1);
}
await compare(1000);
await compare(100_000);
await large();
