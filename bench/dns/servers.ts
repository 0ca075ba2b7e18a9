// The name servers of the benchmark: how each is configured with the same names, and started on one core.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { addressOf, headless } from './api.ts';

export interface Started {
  readonly child: ChildProcess;
  /** How much memory it had, in MB, is asked of this process. */
  readonly pid: number;
}

export interface Candidate {
  readonly name: string;
  /** Undefined where it is not installed. */
  readonly program: string | undefined;
  /** Sets of questions that it cannot be asked in earnest. */
  readonly without?: readonly string[];
  /** `threads` is how many answer at once, where it can be told. */
  command(folder: string, services: number, port: number, api: string, threads?: number): readonly string[];
  /** Whether it can be told how many threads answer. */
  readonly hasThreads?: boolean;
}

const zone = 'cluster.local';

/** The server as it is run: one file, without types. */
function bundle(): string {
  const root = join(import.meta.dirname, '..', '..');
  const outdir = join(root, 'dist');
  buildSync({
    entryPoints: {
      'bench-dns': join(import.meta.dirname, 'server.ts'),
      'dns-thread': join(root, 'src', 'dns', 'threads', 'answering-thread.ts'),
    },
    outdir,
    outExtension: { '.js': '.mjs' },
    define: { 'process.env.WEFT_BUNDLED': '"1"' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['node:*'],
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as weftRequire } from 'node:module';\nconst require = weftRequire(import.meta.url);",
    },
  });
  return join(outdir, 'bench-dns.mjs');
}
const find = (...paths: string[]): string | undefined => paths.find((path) => existsSync(path));

function zoneFile(folder: string, services: number): string {
  const lines = [
    `$ORIGIN ${zone}.`,
    '$TTL 30',
    `@ SOA ns.dns hostmaster 1 7200 1800 86400 30`,
    '@ NS ns.dns',
    'ns.dns A 10.96.0.10',
  ];
  for (let index = 0; index < services; index++) {
    lines.push(`svc-${index}.default.svc A ${addressOf(index)}`);
    lines.push(`_http._tcp.svc-${index}.default.svc SRV 0 100 80 svc-${index}.default.svc`);
  }
  for (let index = 1; index <= headless.endpoints; index++)
    lines.push(`${headless.name}.default.svc A 10.199.0.${index}`);
  const path = join(folder, 'zone');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

const write = (folder: string, name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

export const candidates: readonly Candidate[] = [
  {
    name: 'Weft',
    hasThreads: true,
    program: process.execPath,
    command: (_folder, _services, port, api) => [
      ...[process.execPath, '--disable-warning=ExperimentalWarning', '--max-semi-space-size=2', '--v8-pool-size=1'],
      ...[bundle(), api, String(port)],
    ],
  },
  {
    name: 'Knot',
    hasThreads: true,
    program: find('/usr/sbin/knotd'),
    command(folder, services, port, _api, threads = 1) {
      mkdirSync(join(folder, 'db'), { recursive: true });
      const config = `server:
  rundir: ${folder}
  listen: 127.0.0.1@${port}
  udp-workers: ${threads}
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 1232
database:
  storage: ${folder}/db
log:
  - target: stderr
    any: error
zone:
  - domain: ${zone}
    file: ${zoneFile(folder, services)}
    zonefile-sync: -1
    journal-content: none
`;
      return ['/usr/sbin/knotd', '-c', write(folder, 'knot.conf', config)];
    },
  },
  {
    name: 'NSD',
    program: find('/usr/sbin/nsd'),
    command(folder, services, port) {
      const config = `server:
  ip-address: 127.0.0.1@${port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "${folder}"
  database: ""
  pidfile: "${folder}/nsd.pid"
  xfrdfile: "${folder}/xfrd.state"
  zonelistfile: "${folder}/zone.list"
  xfrdir: "${folder}"
  ipv4-edns-size: 1232
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: ${zone}
  zonefile: ${zoneFile(folder, services)}
`;
      return ['/usr/sbin/nsd', '-d', '-c', write(folder, 'nsd.conf', config)];
    },
  },
  {
    name: 'Unbound',
    program: find('/usr/sbin/unbound'),
    command(folder, services, port) {
      const data = [];
      for (let index = 0; index < services; index++) {
        const name = `svc-${index}.default.svc.${zone}.`;
        data.push(`  local-data: "${name} 30 A ${addressOf(index)}"`);
        data.push(`  local-data: "_http._tcp.${name} 30 SRV 0 100 80 ${name}"`);
      }
      for (let index = 1; index <= headless.endpoints; index++)
        data.push(`  local-data: "${headless.name}.default.svc.${zone}. 30 A 10.199.0.${index}"`);
      const config = `server:
  interface: 127.0.0.1@${port}
  num-threads: 1
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "${folder}"
  pidfile: "${folder}/unbound.pid"
  use-syslog: no
  module-config: "iterator"
  edns-buffer-size: 1232
  max-udp-size: 1232
  access-control: 127.0.0.0/8 allow
  local-zone: "${zone}." static
${data.join('\n')}
remote-control:
  control-enable: no
`;
      return ['/usr/sbin/unbound', '-d', '-c', write(folder, 'unbound.conf', config)];
    },
  },
  {
    name: 'dnsmasq',
    program: find('/usr/sbin/dnsmasq'),
    // It looks through all SRV records for each question.
    without: ['srv'],
    command(folder, services, port) {
      const lines = [];
      for (let index = 0; index < services; index++) lines.push(`${addressOf(index)} svc-${index}.default.svc.${zone}`);
      for (let index = 1; index <= headless.endpoints; index++)
        lines.push(`10.199.0.${index} ${headless.name}.default.svc.${zone}`);
      return [
        ...['/usr/sbin/dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts'],
        ...[`--port=${port}`, '--listen-address=127.0.0.1', '--bind-interfaces', `--local=/${zone}/`, '--user=root'],
        ...[`--addn-hosts=${write(folder, 'hosts', `${lines.join('\n')}\n`)}`, '--edns-packet-max=1232', '--pid-file='],
        '--dns-forward-max=1000',
      ];
    },
  },
];

/** Starts a server on those cores. */
export function startServer(candidate: Candidate, command: readonly string[], cores: string): Started {
  const [file = '', ...args] = ['taskset', '-c', cores, ...command];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, WEFT_LOG: 'silent' } });
  if (child.pid === undefined) throw new Error(`${candidate.name} cannot be started`);
  return { child, pid: child.pid };
}

export async function stopServer({ child }: Started): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = once(child, 'exit');
  child.kill('SIGTERM');
  const hard = setTimeout(() => child.kill('SIGKILL'), 3000);
  await end;
  clearTimeout(hard);
}
