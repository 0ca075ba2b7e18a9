// Namespaces for tests of the proxy: two nodes on a LAN, pods behind them, a client outside of the cluster.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { netnsPath, sysctl } from '../../src/linux/netns.ts';

const peer = join(import.meta.dirname, 'peer.pl');

/** Runs a command of the test; its arguments are the test's own. */
const run = (...argv: string[]): string => execFileSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' });
const ip = (text: string): string => run('ip', ...text.split(' '));

/**
 * ```
 * outside 172.18.0.9 ─┐
 *                     lan ── node 172.18.0.2 ── bridge 10.244.1.1 ── a 10.244.1.2, b 10.244.1.3
 * remote 172.18.0.3 ──┘        (the proxy runs here)
 *   └ c 10.244.2.2, a client 10.244.2.9
 * ```
 */
export class Network {
  readonly #prefix = `wt-${Math.random().toString(36).slice(2, 7)}`;
  readonly #children: ChildProcess[] = [];
  readonly #names = ['lan', 'node', 'remote', 'outside', 'a', 'b'] as const;

  constructor() {
    for (const name of this.#names) {
      ip(`netns add ${this.ns(name)}`);
      ip(`-n ${this.ns(name)} link set lo up`);
    }
    ip(`-n ${this.ns('lan')} link add lan0 type bridge`);
    ip(`-n ${this.ns('lan')} link set lan0 up`);
    this.#attach('node', '172.18.0.2/16', 'fd18::2/64', 'lan', 'lan0');
    this.#attach('remote', '172.18.0.3/16', 'fd18::3/64', 'lan', 'lan0');
    this.#attach('outside', '172.18.0.9/16', 'fd18::9/64', 'lan', 'lan0');
    ip(`-n ${this.ns('node')} link add weft0 type bridge`);
    ip(`-n ${this.ns('node')} addr add 10.244.1.1/24 dev weft0`);
    ip(`-n ${this.ns('node')} addr add fd44:1::1/64 dev weft0 nodad`);
    ip(`-n ${this.ns('node')} link set weft0 up`);
    this.#attach('a', '10.244.1.2/24', 'fd44:1::2/64', 'node', 'weft0');
    this.#attach('b', '10.244.1.3/24', 'fd44:1::3/64', 'node', 'weft0');
    for (const pod of ['a', 'b'] as const) {
      ip(`-n ${this.ns(pod)} route add default via 10.244.1.1`);
      ip(`-n ${this.ns(pod)} -6 route add default via fd44:1::1`);
    }
    ip(`-n ${this.ns('node')} route add 10.244.2.0/24 via 172.18.0.3`);
    ip(`-n ${this.ns('node')} route add fd44:2::/64 via fd18::3`);
    for (const own of ['10.244.2.2/32', '10.244.2.9/32', 'fd44:2::2/128', 'fd44:2::9/128'])
      ip(`-n ${this.ns('remote')} addr add ${own} dev lo`);
    ip(`-n ${this.ns('remote')} route add 10.244.1.0/24 via 172.18.0.2`);
    ip(`-n ${this.ns('remote')} route add fd44:1::/64 via fd18::2`);
    // Addresses of Services: cluster addresses, those of load balancers, external ones.
    for (const range of ['10.96.0.0/16', '192.0.2.0/24', '198.51.100.0/24'])
      ip(`-n ${this.ns('outside')} route add ${range} via 172.18.0.2`);
    for (const range of ['fd96::/112', '2001:db8::/32']) ip(`-n ${this.ns('outside')} route add ${range} via fd18::2`);
    for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'])
      sysctl(netnsPath(this.ns('node')), key, '1');
  }

  ns(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #attach(name: string, address: string, address6: string, bridge: string, device: string): void {
    const port = `v-${name}`;
    ip(`-n ${this.ns(bridge)} link add ${port} type veth peer name eth0 netns ${this.ns(name)}`);
    ip(`-n ${this.ns(bridge)} link set ${port} master ${device} up`);
    run('ip', 'netns', 'exec', this.ns(bridge), 'bridge', 'link', 'set', 'dev', port, 'hairpin', 'on');
    ip(`-n ${this.ns(name)} addr add ${address} dev eth0`);
    ip(`-n ${this.ns(name)} addr add ${address6} dev eth0 nodad`);
    ip(`-n ${this.ns(name)} link set eth0 up`);
  }

  /** Starts a process in a namespace; it ends with the network. */
  spawn(name: string, ...argv: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.ns(name), ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    return child;
  }

  /** A server on TCP and UDP that answers with its name and the address that it sees. */
  async serve(name: string, answer: string, port = 8080, host = '0.0.0.0'): Promise<ChildProcess> {
    const child = this.spawn(name, 'perl', peer, 'serve', answer, String(port), host);
    if (child.stdout !== null) await once(child.stdout, 'data');
    return child;
  }

  /** One connection from a namespace: what the server said, or `refused`, `timeout`, `unreachable`. */
  ask(from: string, protocol: 'tcp' | 'udp', address: string, port: number, localPort?: number): Promise<string> {
    const local = localPort === undefined ? [] : [String(localPort)];
    const argv = ['netns', 'exec', this.ns(from), 'perl', peer, 'ask', protocol, address, String(port), ...local];
    return new Promise((resolve, reject) => {
      execFile('ip', argv, (error, stdout) => (error === null ? resolve(stdout.trim()) : reject(error)));
    });
  }

  run(name: string, ...argv: string[]): string {
    return run('ip', 'netns', 'exec', this.ns(name), ...argv);
  }

  async remove(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const end = once(child, 'exit');
        child.kill('SIGKILL');
        await end;
      }),
    );
    for (const name of this.#names) ip(`netns delete ${this.ns(name)}`);
  }
}
