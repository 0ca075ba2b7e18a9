// A small network of namespaces for tests: nodes with the agent in them, joined by an underlay; pods; calls of the plugin.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Stored } from '../../src/k8s/object.ts';
import type { Node } from '../../src/k8s/types.generated.ts';
import { replaceAddress } from '../../src/linux/addresses.ts';
import { changeLink, createBridge, createVeth, findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, inNetns, netnsPath } from '../../src/linux/netns.ts';
import { asIp } from '../../src/net/address.ts';
import type { AgentSettings } from './agent.ts';
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

export class Lab implements AsyncDisposable {
  readonly nodes: LabNode[] = [];
  readonly #agents = new Map<string, ChildProcess>();
  readonly #namespaces: string[] = [];
  readonly #root = mkdtempSync('/tmp/wt-cni-');
  readonly #underlay: string;
  readonly #options: Pick<AgentSettings, 'clusterCidrs' | 'sweep' | 'restMs'>;

  constructor(options: Pick<AgentSettings, 'clusterCidrs' | 'sweep' | 'restMs'>) {
    this.#options = options;
    this.#underlay = this.#namespace('u');
    using nl = Netlink.open(netnsPath(this.#underlay));
    createBridge(nl, { name: 'lan', up: true });
  }

  #namespace(suffix: string): string {
    const name = `${run}-${this.#namespaces.length}${suffix}`;
    createNamedNetns(name);
    this.#namespaces.push(name);
    return name;
  }

  /** A node with an address in the underlay for each family; its agent is not started yet. */
  addNode(podCIDRs: readonly string[], options: { mtu?: number } = {}): LabNode {
    const number = this.nodes.length + 2;
    const netns = this.#namespace('n');
    const addresses = [`172.18.0.${number}`, `fd18::${number}`];
    using underlay = Netlink.open(netnsPath(this.#underlay));
    const lan = findLink(underlay, 'lan')?.index ?? 0;
    const fd = openSync(netnsPath(netns), 'r');
    const mtu = options.mtu ?? 1500;
    createVeth(underlay, { name: `n${number}`, master: lan, up: true, mtu }, { name: 'eth0', netns: fd, mtu });
    using nl = Netlink.open(fd);
    const link = findLink(nl, 'eth0')?.index ?? 0;
    changeLink(nl, 1, { up: true });
    changeLink(nl, link, { up: true });
    replaceAddress(nl, { link, address: asIp(addresses[0] ?? ''), prefix: 16 });
    replaceAddress(nl, { link, address: asIp(addresses[1] ?? ''), prefix: 64 });
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

  /** Starts the agents of these nodes (of all of them by default) and waits until they answer. */
  async start(nodes: readonly LabNode[] = this.nodes): Promise<void> {
    await Promise.all(nodes.map((one) => this.#startAgent(one)));
  }

  async #startAgent({ name, netns, root }: LabNode): Promise<void> {
    const settings: AgentSettings = {
      nodeName: name,
      root,
      nodes: this.nodes.map(({ object }) => object),
      ...this.#options,
    };
    const script = join(import.meta.dirname, 'agent.ts');
    const child = inNetns(netnsPath(netns), () =>
      spawn(projectNode, [script, JSON.stringify(settings)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: { ...process.env, WEFT_LOG: process.env.WEFT_LOG ?? 'silent' },
      }),
    );
    this.#agents.set(name, child);
    const [message] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    if (message !== 'ready') throw new Error(`the agent of ${name} ended with ${message}`);
  }

  agentPid(one: LabNode): number {
    return this.#agents.get(one.name)?.pid ?? 0;
  }

  /** Tells every agent the Nodes of the cluster. */
  tellNodes(objects: readonly Stored<Node>[]): void {
    for (const agent of this.#agents.values()) agent.send(objects);
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
    for (const one of this.nodes) await this.kill(one);
    for (const name of this.#namespaces) deleteNamedNetns(name);
    rmSync(this.#root, { recursive: true, force: true });
  }
}

export interface AddResult {
  readonly interfaces: readonly { name: string; mac?: string; sandbox?: string }[];
  readonly ips: readonly { address: string; gateway: string; interface: number }[];
  readonly routes: readonly { dst: string; gw: string }[];
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
