// The supervisor of one cluster: makes what is missing, starts what does not run, and keeps all of it so.
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { ensureImage } from '../images/build.ts';
import { startImageGateway } from '../images/gateway.ts';
import { ImageStore } from '../images/store.ts';
import type { Client } from '../k8s/client.ts';
import { nodes, pods, services } from '../k8s/resources.ts';
import { netnsPath } from '../linux/netns.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import { familyOf } from '../net/address.ts';
import { adminClient } from './admin-client.ts';
import { listening, listenOnIpv6Too, portOf, relayServer } from './byte-relay.ts';
import { joinCgroup } from './cgroups.ts';
import { pauseImage } from './containerd-config.ts';
import { dnsImage, ensureDns } from './dns-addon.ts';
import { createUpstreamServer } from './dns-relay.ts';
import { relayedAddresses } from './dns-settings.ts';
import { deleteNode, drainNode } from './drain.ts';
import { endProcesses } from './end-processes.ts';
import { ensureNetworkConfig } from './fabric.ts';
import { ensureIdentities, identity, readAuthority, readKeyPair, writeWhole } from './identities.ts';
import { contextName, kubeconfigText } from './kubeconfig.ts';
import { type ClusterLayout, dnsAddresses, layoutOf } from './layout.ts';
import { reapplyConditions } from './links.ts';
import { ensureLoadBalancers } from './load-balancer-addon.ts';
import { findNode, halfRemoved, removeNodeTraces, withNode, withoutNode, writeHosts } from './members.ts';
import { ensureNetwork } from './network.ts';
import { ensureNodeNamespaces } from './node-mounts.ts';
import { forwardNodePorts } from './node-ports.ts';
import { identify, writeProcessFile } from './process-file.ts';
import { agentPlan, containerdPlan, controlPlanePlan, nodeProcesses } from './process-plans.ts';
import { Progress } from './progress.ts';
import { apiAnswers, dnsReady, nodesReady } from './readiness.ts';
import type { ClusterSettings } from './settings.ts';
import { readSettings, writeSettings } from './stored-settings.ts';
import { type ProcessPlan, Supervised } from './supervised.ts';
import { createSupervisorServer, type NodePortForward } from './supervisor-socket.ts';

/** Longer than this no start takes; what is missing then is said. */
const patienceMs = 120_000;
const failureMs = 300;
/** So long pods are given to end on a node that is removed. */
const drainMs = 40_000;

/** What of other rooms runs in the supervisor: wired by its entry point. */
export interface SupervisorParts {
  /** Keeps the table of the router between the nodes. */
  startRouter(options: {
    readonly client: Client;
    readonly clusterCidrs: readonly Cidr[];
    readonly netns: string;
    readonly log: Log;
  }): Promise<{ stop(): Promise<void> }>;
}

/** Runs the supervision of a cluster; resolves when it is started, and rejects where it cannot be. */
export async function startSupervisor(
  settings: ClusterSettings,
  layout: ClusterLayout,
  parts: SupervisorParts,
  log: Log,
): Promise<{ stop(): Promise<void> }> {
  const supervisor = new Supervisor(settings, layout, parts, log);
  await supervisor.start();
  return { stop: () => supervisor.stop() };
}

class Supervisor {
  #settings: ClusterSettings;
  #layout: ClusterLayout;
  readonly #parts: SupervisorParts;
  readonly #log: Log;
  readonly #progress = new Progress();
  readonly #processes = new Map<string, Supervised>();
  /** The processes that hold a connection; they may be faster than this one's own start. */
  readonly #connected = new Set<string>();
  readonly #servers: Server[] = [];
  readonly #ended = new AbortController();
  readonly #hostNamespaces = ['mnt', 'net', 'uts'].map((kind) => openSync(`/proc/self/ns/${kind}`, 'r'));
  #apiPort = 0;
  #client: Client | undefined;
  #isChanging = false;
  #nodePorts: () => NodePortForward[] = () => [];

  constructor(settings: ClusterSettings, layout: ClusterLayout, parts: SupervisorParts, log: Log) {
    this.#settings = settings;
    this.#layout = layout;
    this.#parts = parts;
    this.#log = log;
  }

  async start(): Promise<void> {
    const layout = this.#layout;
    for (const folder of [layout.pids, layout.logs, layout.nodesState])
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    // What it starts is born in its cgroup, and so nothing can escape the removal of the cluster.
    joinCgroup(join(layout.cgroup, 'supervisor'), process.pid);
    const own = identify(process.pid);
    if (own !== undefined) writeProcessFile(layout.pids, 'supervisor', own);
    await this.#serve();
    try {
      await this.#bringUp();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#log.error({ error: message }, 'the cluster cannot be started');
      this.#progress.fail(message);
      // Whoever follows has read it by then. The guards of what runs already start a new supervisor, which tries again.
      setTimeout(() => process.exit(1), failureMs);
    }
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    for (const supervised of this.#processes.values()) supervised.stop();
    for (const server of this.#servers) server.close();
  }

  async #serve(): Promise<void> {
    const server = createSupervisorServer({
      status: () => ({
        ready: this.#progress.isReady,
        pid: process.pid,
        apiPort: this.#apiPort,
        processes: [...this.#processes.values()].map(({ plan, pid, restarts }) => ({
          name: plan.name,
          restarts,
          ...(pid !== undefined && { pid }),
        })),
        nodePorts: this.#nodePorts(),
      }),
      follow: (listener) => this.#progress.follow(listener),
      connected: (name) => {
        this.#connected.add(name);
        this.#processes.get(name)?.connected();
      },
      lost: (name) => {
        this.#connected.delete(name);
        this.#processes.get(name)?.lost();
      },
      addNode: (progress) => this.#changeNodes(progress, () => this.#addNode(progress)),
      removeNode: (name, force, progress) => this.#changeNodes(progress, () => this.#removeNode(name, force, progress)),
    });
    rmSync(this.#layout.supervisorSocket, { force: true });
    await listening(server, { path: this.#layout.supervisorSocket });
    this.#servers.push(server);
  }

  async #bringUp(): Promise<void> {
    const settings = this.#settings;
    const layout = this.#layout;
    const progress = this.#progress;
    const store = new ImageStore();
    const told = (step: string): void => this.#log.info({ step }, 'image');
    const leavers = halfRemoved(settings, readdirSync(layout.nodesState));
    for (const node of leavers) removeNodeTraces(layout, node);
    const images = Promise.all([pauseImage, dnsImage].map((name) => ensureImage(name, store, told)));
    // An image that cannot be made is reported after the nodes stand; not before, and not as an unhandled rejection.
    images.catch(() => {});
    const identities = ensureIdentities(settings, layout);
    const { registrySocket, proxySocket } = layout;
    await this.#forwardApi();
    await startImageGateway({ registrySocket, proxySocket, offline: settings.offline, log: this.#log });
    await this.#serveUpstreams();
    await progress.step('Network between the nodes', () => this.#makeNamespaces());
    await progress.step('Container runtimes', async () => {
      for (const node of layout.nodes) this.#run(containerdPlan(layout, node));
      await identities;
      this.#writeKubeconfig();
    });
    this.#run(controlPlanePlan(layout, this.#hostNamespaces));
    for (const node of layout.nodes) this.#run(agentPlan(layout, node, this.#hostNamespaces));
    const client = this.#clientOf();
    await progress.step('Control plane', () =>
      this.#within('the API server to answer', apiAnswers(client, this.#ended.signal)),
    );
    for (const { name } of leavers) await deleteNode(client, name);
    const serviceCache = client.cache(services);
    const [first] = layout.nodes;
    if (first !== undefined) this.#nodePorts = forwardNodePorts(serviceCache, first, this.#log).list;
    // One does not wait for the other: the nodes are busy with their own start meanwhile.
    const objects = this.#makeObjects(client);
    objects.catch(() => {});
    const nodeCache = client.cache(nodes);
    await progress.step(`Nodes ready (${layout.nodes.length})`, () =>
      this.#within('every node to be Ready', nodesReady(nodeCache, layout)),
    );
    nodeCache.stop();
    await objects;
    await progress.step('Images', () => images);
    const servers = client.cache(pods, { namespace: 'kube-system', labelSelector: 'k8s-app=kube-dns' });
    await progress.step('Cluster DNS', () =>
      this.#within('cluster DNS to answer', dnsReady(layout, dnsAddresses(settings), servers, this.#ended.signal)),
    );
    servers.stop();
    progress.ready();
    this.#log.info('the cluster is ready');
  }

  /** What of the cluster itself is in the API: its network's settings, its DNS, the kinds of load balancers. */
  async #makeObjects(client: Client): Promise<void> {
    const settings = this.#settings;
    const layout = this.#layout;
    const router = async (): Promise<void> => {
      await ensureNetworkConfig(client, settings, layout);
      const [netns, clusterCidrs] = [netnsPath(layout.routerNetns), settings.podCidrs];
      await this.#parts.startRouter({ client, clusterCidrs, netns, log: this.#log.child({ part: 'router' }) });
    };
    await Promise.all([router(), ensureDns(client, settings), ensureLoadBalancers(client, settings.lbPool)]);
  }

  /** One change of the nodes at a time, and none while the cluster starts. */
  async #changeNodes(progress: Progress, change: () => Promise<void>): Promise<void> {
    try {
      if (!this.#progress.isReady) throw new Error('the cluster is still starting');
      if (this.#isChanging) throw new Error('another node is being added or removed: wait for it');
      this.#isChanging = true;
      try {
        await change();
      } finally {
        this.#isChanging = false;
      }
      progress.ready();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#log.error({ error: message }, 'the nodes cannot be changed');
      progress.fail(message);
    }
  }

  /** The settings are written first: whatever ends this, the next start of the supervisor goes on from there. */
  #take(settings: ClusterSettings): ClusterLayout {
    writeSettings(settings);
    this.#settings = settings;
    this.#layout = layoutOf(settings);
    return this.#layout;
  }

  async #addNode(progress: Progress): Promise<void> {
    const { settings, added } = withNode(this.#readSettings());
    const layout = this.#take(settings);
    const node = layout.nodes.find(({ number }) => number === added);
    if (node === undefined) throw new Error(`the node number ${added} has no place in the cluster`);
    await ensureIdentities(settings, layout);
    await progress.step(`Namespaces of ${node.name}`, () => {
      this.#makeNamespaces();
      writeHosts(layout);
    });
    this.#run(containerdPlan(layout, node));
    this.#run(agentPlan(layout, node, this.#hostNamespaces));
    await progress.step(`${node.name} is Ready`, async () => {
      const cache = this.#clientOf().cache(nodes);
      await this.#within(`${node.name} to be Ready`, nodesReady(cache, { nodes: [node] }));
      cache.stop();
    });
  }

  async #removeNode(which: string, force: boolean, progress: Progress): Promise<void> {
    const before = this.#layout;
    const node = findNode(before, which);
    const settings = withoutNode(this.#readSettings(), node);
    const client = this.#clientOf();
    if (!force) await progress.step(`Pods of ${node.name} ended`, () => drainNode(client, node.name, drainMs));
    const layout = this.#take(settings);
    await progress.step(`${node.name} removed`, async () => {
      for (const name of Object.values(nodeProcesses).map((of) => of(node))) {
        this.#processes.get(name)?.stop();
        this.#processes.delete(name);
      }
      removeNodeTraces(before, node);
      await deleteNode(client, node.name);
      writeHosts(layout);
    });
  }

  /** What other commands have changed meanwhile (the fabric) is in the file. */
  #readSettings(): ClusterSettings {
    return readSettings(this.#settings.name) ?? this.#settings;
  }

  #clientOf(): Client {
    this.#client ??= adminClient(this.#layout, 'weft-supervisor');
    return this.#client;
  }

  /** What is waited for at the start, with an end to the patience; the waiting itself goes on. */
  async #within<T>(what: string, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`waited ${patienceMs / 1000} s in vain for ${what}; see ${this.#layout.logs}`)),
        patienceMs,
      );
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #makeNamespaces(): void {
    const layout = this.#layout;
    const made = ensureNetwork(this.#settings, layout);
    reapplyConditions(layout);
    for (const node of layout.nodes) {
      mkdirSync(node.run, { recursive: true, mode: 0o700 });
      mkdirSync(node.state, { recursive: true, mode: 0o700 });
      if (made.has(node.name)) rmSync(node.dialSocket, { force: true });
      // What lives in an older namespace of that node can neither see the new one nor be reached in it.
      if (ensureNodeNamespaces(layout, node, made.has(node.name))) endProcesses(node.cgroup);
    }
  }

  /** 127.0.0.1:PORT leads to the API server; the port is kept from one start to the next. */
  async #forwardApi(): Promise<void> {
    const file = this.#layout.apiPortFile;
    const port = this.#settings.apiPort ?? (existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0);
    const server = relayServer({ path: this.#layout.apiSocket });
    try {
      await listening(server, { host: '127.0.0.1', port });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`127.0.0.1:${port}, the API server's address, cannot be listened on: ${reason}`);
    }
    this.#servers.push(server);
    this.#apiPort = portOf(server);
    if (this.#settings.serviceCidrs.some((range) => familyOf(range) === 'IPv6')) {
      const second = relayServer({ path: this.#layout.apiSocket });
      listenOnIpv6Too(second, this.#apiPort, this.#log);
      this.#servers.push(second);
    }
    writeWhole(file, String(this.#apiPort));
  }

  /** What the nodes' DNS asks outside of the cluster is asked from here. */
  async #serveUpstreams(): Promise<void> {
    const relayed = relayedAddresses(this.#settings, this.#settings);
    if (relayed.length === 0) return;
    const server = createUpstreamServer(relayed);
    rmSync(this.#layout.dnsRelaySocket, { force: true });
    await listening(server, { path: this.#layout.dnsRelaySocket });
    this.#servers.push(server);
  }

  #writeKubeconfig(): void {
    const { cert, key } = readKeyPair(this.#layout, identity.admin);
    const ca = readAuthority(this.#layout);
    const server = `https://127.0.0.1:${this.#apiPort}`;
    const context = contextName(this.#layout.name);
    writeWhole(this.#layout.kubeconfig, kubeconfigText({ context, server, ca, cert, key }));
  }

  #run(plan: ProcessPlan): void {
    const supervised = new Supervised(plan, this.#layout.pids, this.#log);
    this.#processes.set(plan.name, supervised);
    supervised.start();
    if (this.#connected.has(plan.name)) supervised.connected();
  }
}
