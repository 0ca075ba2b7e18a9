// A small network of namespaces for tests: nodes with the agent in them, joined by an underlay; pods; calls of the plugin.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Stored } from '../../src/k8s/object.ts';
import type { ConfigMap, Node } from '../../src/k8s/types.generated.ts';
import { replaceAddress } from '../../src/linux/addresses.ts';
import { changeLink, createBridge, createVeth, findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, inNetns, netnsPath, sysctl } from '../../src/linux/netns.ts';
import { asIp } from '../../src/net/address.ts';
import type { AgentMessage, AgentPatch, AgentSettings } from './agent.ts';
import { node } from './static-client.ts';

const projectNode = join(import.meta.dirname, '../../scripts/node');

export interface CallOutcome {
  readonly status: number;
  readonly output: string;
}

export interface LabNode {
  readonly name: string;
  readonly netns: string;
  readonly root: string;
  readonly object: Stored<Node>;
  readonly addresses: readonly string[];
}

/** Names of this run: unique, and short enough for interfaces. */
const run = `wt-${process.pid.toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;

/** How many namespaces this process has made. */
let namespaces = 0;

/** A merge patch of annotations. */
interface Patched {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string | null>> };
}

function isPatch(message: unknown): message is AgentPatch {
  return typeof message === 'object' && message !== null && 'plural' in message;
}

export class Lab implements AsyncDisposable {
  readonly nodes: LabNode[] = [];
  readonly #agents = new Map<string, ChildProcess>();
  readonly #namespaces: string[] = [];
  readonly #annotations = new Map<string, Record<string, string>>();
  #objects: readonly Stored<Node>[] | undefined;
  #config: Stored<ConfigMap> | undefined;
  readonly #root = mkdtempSync('/tmp/wt-cni-');
  readonly #underlay: string;
  readonly #options: Pick<AgentSettings, 'clusterCidrs' | 'sweep' | 'restMs' | 'unmasqueraded'>;

  constructor(options: Pick<AgentSettings, 'clusterCidrs' | 'sweep' | 'restMs' | 'unmasqueraded'>) {
    this.#options = options;
    this.#underlay = this.#namespace('u');
  }

  #namespace(suffix: string): string {
    const name = `${run}-${namespaces++}${suffix}`;
    createNamedNetns(name);
    this.#namespaces.push(name);
    return name;
  }

  /** A node with an address in the underlay for each family; its agent is not started yet. */
  addNode(podCIDRs: readonly string[], options: { mtu?: number; segment?: number } = {}): LabNode {
    const number = this.nodes.length + 2;
    const netns = this.#namespace('n');
    const { mtu = 1500, segment = 0 } = options;
    const addresses = [`172.${18 + segment}.0.${number}`, `fd${18 + segment}::${number}`];
    this.#plugIn(netns, 'eth0', `n${number}`, segment, addresses, mtu);
    const made = {
      name: netns,
      netns,
      root: join(this.#root, netns),
      object: node(netns, podCIDRs, addresses),
      addresses,
    };
    this.nodes.push(made);
    return made;
  }

  #plugIn(netns: string, name: string, port: string, segment: number, addresses: readonly string[], mtu: number): void {
    using underlay = Netlink.open(netnsPath(this.#underlay));
    const bridge = `lan${segment}`;
    if (findLink(underlay, bridge) === undefined) createBridge(underlay, { name: bridge, up: true });
    const fd = openSync(netnsPath(netns), 'r');
    const master = findLink(underlay, bridge)?.index ?? 0;
    createVeth(underlay, { name: port, master, up: true, mtu }, { name, netns: fd, mtu });
    using nl = Netlink.open(fd);
    closeSync(fd);
    const link = findLink(nl, name)?.index ?? 0;
    changeLink(nl, 1, { up: true });
    changeLink(nl, link, { up: true });
    for (const [index, address] of addresses.entries())
      replaceAddress(nl, { link, address: asIp(address), prefix: index === 0 ? 16 : 64 });
  }

  /** A router on these segments, under the first address of each; nodes know the way through it to the other segments. */
  addRouter(segments: number): string {
    const netns = this.#namespace('r');
    for (let segment = 0; segment < segments; segment++)
      this.#plugIn(netns, `eth${segment}`, `r${segment}`, segment, routerAddresses(segment), 1500);
    for (const key of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) sysctl(netnsPath(netns), `net/${key}`, '1');
    sysctl(netnsPath(netns), 'net/ipv4/conf/all/send_redirects', '0');
    for (const one of this.nodes)
      for (let segment = 0; segment < segments; segment++) {
        const own = Number(one.addresses[0]?.split('.')[1]) - 18;
        if (own === segment) continue;
        const [via4 = '', via6 = ''] = routerAddresses(own);
        runIn(one.netns, 'ip', 'route', 'add', `172.${18 + segment}.0.0/16`, 'via', via4);
        runIn(one.netns, 'ip', '-6', 'route', 'add', `fd${18 + segment}::/64`, 'via', via6);
      }
    return netns;
  }

  /** A machine outside of the cluster with these addresses: nodes reach it by those of it in the underlay (`via`). */
  addOutside(...addresses: readonly string[]): { netns: string; via: [string, string] } {
    const netns = this.#namespace('o');
    const via: [string, string] = ['172.18.0.200', 'fd18::200'];
    this.#plugIn(netns, 'eth0', 'outside', 0, via, 1500);
    using nl = Netlink.open(netnsPath(netns));
    for (const address of addresses)
      replaceAddress(nl, { link: 1, address: asIp(address), prefix: address.includes(':') ? 128 : 32 });
    return { netns, via };
  }

  /** The namespace of the LAN between the nodes. */
  get underlay(): string {
    return this.#underlay;
  }

  /** Starts the agents of these nodes (of all of them by default) and waits until they answer. */
  async start(nodes: readonly LabNode[] = this.nodes): Promise<void> {
    await Promise.all(nodes.map((one) => this.#startAgent(one)));
  }

  async #startAgent({ name, netns, root }: LabNode): Promise<void> {
    const settings: AgentSettings = {
      nodeName: name,
      root,
      nodes: this.#annotated(),
      ...(this.#config !== undefined && { config: this.#config }),
      ...this.#options,
    };
    // A test machine has it bundled.
    const script = process.env.WEFT_LAB_AGENT ?? join(import.meta.dirname, 'agent.ts');
    const child = inNetns(netnsPath(netns), () =>
      spawn(projectNode, [script, JSON.stringify(settings)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        // As the supervisor starts it.
        env: { ...process.env, UV_THREADPOOL_SIZE: '16', WEFT_LOG: process.env.WEFT_LOG ?? 'silent' },
      }),
    );
    this.#agents.set(name, child);
    child.on('message', (told) => {
      if (isPatch(told) && told.plural === 'nodes') this.#annotate(told.name, told.body);
    });
    const [message] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    if (message !== 'ready') throw new Error(`the agent of ${name} ended with ${message}`);
  }

  agentPid(one: LabNode): number {
    return this.#agents.get(one.name)?.pid ?? 0;
  }

  /** Tells every agent the Nodes of the cluster. */
  tellNodes(objects: readonly Stored<Node>[]): void {
    this.#objects = objects;
    this.#tell({ nodes: this.#annotated() });
  }

  /** Tells every agent the settings of the network. */
  tellConfig(config: Stored<ConfigMap>): void {
    this.#config = config;
    this.#tell({ config });
  }

  /** The Nodes as the agents know them, with what they said of themselves. */
  get objects(): readonly Stored<Node>[] {
    return this.#annotated();
  }

  /** Called with all Nodes when an agent has said something of its own. */
  onAnnotation: (objects: readonly Stored<Node>[]) => void = () => {};

  #tell(message: AgentMessage): void {
    for (const agent of this.#agents.values()) if (agent.connected) agent.send(message);
  }

  #annotated(): Stored<Node>[] {
    const objects = this.#objects ?? this.nodes.map(({ object }) => object);
    return objects.map((object) => {
      const annotations = this.#annotations.get(object.metadata.name);
      return annotations === undefined ? object : { ...object, metadata: { ...object.metadata, annotations } };
    });
  }

  #annotate(name: string, body: Patched): void {
    const annotations = { ...this.#annotations.get(name) };
    for (const [key, value] of Object.entries(body.metadata?.annotations ?? {}))
      if (value === null) delete annotations[key];
      else annotations[key] = value;
    this.#annotations.set(name, annotations);
    this.#tell({ nodes: this.#annotated() });
    this.onAnnotation(this.#annotated());
  }

  async kill(one: LabNode): Promise<void> {
    const child = this.#agents.get(one.name);
    this.#agents.delete(one.name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** A namespace as a runtime makes it for a pod: its name and its path. */
  addPod(): { name: string; path: string } {
    const name = this.#namespace('p');
    return { name, path: netnsPath(name) };
  }

  removePod(name: string): void {
    deleteNamedNetns(name);
  }

  /** Calls the plugin as a runtime does: the program in the node's folder, the environment, the configuration. */
  call(one: LabNode, env: Record<string, string>, config: object | string = {}): Promise<CallOutcome> {
    const stdin =
      typeof config === 'string'
        ? config
        : JSON.stringify({ cniVersion: '1.0.0', name: 'weft', type: 'weft-cni', ...config });
    const child = spawn(join(one.root, 'bin/weft-cni'), {
      env: { CNI_PATH: join(one.root, 'bin'), ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stdin.on('error', () => {});
    child.stdin.end(stdin);
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status) => resolve({ status: status ?? -1, output: Buffer.concat(chunks).toString() }));
    });
  }

  /** ADD for a pod's namespace; throws when it fails. */
  async add(one: LabNode, containerId: string, path: string): Promise<AddResult> {
    const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: containerId, CNI_NETNS: path, CNI_IFNAME: 'eth0' };
    const { status, output } = await this.call(one, env);
    if (status !== 0) throw new Error(`ADD of ${containerId}: ${output}`);
    return JSON.parse(output);
  }

  async delete(one: LabNode, containerId: string, path = ''): Promise<CallOutcome> {
    return this.call(one, {
      CNI_COMMAND: 'DEL',
      CNI_CONTAINERID: containerId,
      CNI_IFNAME: 'eth0',
      ...(path === '' ? {} : { CNI_NETNS: path }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.nodes) {
      await this.kill(one);
      endBird(one);
    }
    for (const name of this.#namespaces) deleteNamedNetns(name);
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** BIRD outlives its agent. */
function endBird({ root }: LabNode): void {
  try {
    process.kill(Number(readFileSync(join(root, 'bird/bird.pid'), 'utf8')), 'SIGKILL');
  } catch {
    // None was started there, or it has ended.
  }
}

export interface AddResult {
  readonly interfaces: readonly { name: string; mac?: string; sandbox?: string }[];
  readonly ips: readonly { address: string; gateway: string; interface: number }[];
  readonly routes: readonly { dst: string; gw: string }[];
}

/** The addresses of the lab's router on a segment. */
export function routerAddresses(segment: number): string[] {
  return [`172.${18 + segment}.0.1`, `fd${18 + segment}::1`];
}

/** The output of a command in a namespace; throws with its error output when it fails. */
export function runIn(netns: string, command: string, ...args: string[]): string {
  const result = inNetns(netnsPath(netns), () => spawnSync(command, args, { encoding: 'utf8' }));
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.error?.message ?? result.stderr}`);
  return result.stdout;
}

/** The address of a pod without its prefix length. */
export function addressOf(result: AddResult, family: 4 | 6 = 4): string {
  const found = result.ips.find(({ address }) => address.includes(':') === (family === 6));
  return found?.address.split('/')[0] ?? '';
}

export function namesIn(dir: string): string[] {
  return readdirSync(dir).sort();
}
