// The resident part of the CNI plugin: waits for the node's ranges, keeps the bridge right, and answers the runtime.
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { listAddresses } from '../linux/addresses.ts';
import { findLink, type Link, listLinks, RTM_DELLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink } from '../linux/netlink-monitor.ts';
import { isNetns } from '../linux/netns.ts';
import { type Nft, openNft } from '../linux/nft-run.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, cidrContains, parseCidr, parseIp } from '../net/address.ts';
import { decideAdoption, findEnds } from './adopt.ts';
import { setUpPort } from './attach.ts';
import { ensureBridge } from './bridge.ts';
import { bridgeGroups, concernsBridge, type LoosePorts } from './bridge-events.ts';
import type { Answer, Call } from './frame.ts';
import { installConfiguration, installShim } from './install.ts';
import { attachmentKey, isDamaged, LeaseStore } from './lease-store.ts';
import { LinkRemoval } from './link-removal.ts';
import { bridgeName, hostLinkName, isHostLinkName, macOf, planNode } from './plan.ts';
import { type NodeState, Plugin } from './plugin.ts';
import type { Masquerade } from './pod-rules.ts';
import { PodTables } from './pod-tables.ts';
import { CniError, errorCode } from './protocol.ts';
import { drainQueue, watchQueue } from './queue.ts';
import { parseRequest, versionForErrors } from './request.ts';
import { serveCalls } from './server.ts';
import { decideSweep } from './sweep.ts';
import { underlayMtu } from './underlay.ts';

export interface CniDaemonOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly socketPath?: string;
  /** Where the leases and the queue are kept, over restarts of the node. */
  readonly stateDir: string;
  readonly confDir?: string;
  readonly binDir?: string;
  /** The ranges of all pods of the cluster; a node's range outside of them is refused. */
  readonly clusterCidrs: readonly Cidr[];
  /** The MTU of pods' links, in bytes; by default that of the underlay. */
  readonly mtu?: number;
  /** Which packets of pods leave with the node's address: those to outside of the cluster, without these; none (`false`). */
  readonly masquerade?: Masquerade | false;
  /** How long a freed address rests before another pod gets it, in ms (default: {@link defaultRestMs}). */
  readonly restMs?: number;
  /** The way to nftables; by default that of this process's network namespace. */
  readonly nft?: Nft;
  readonly log: Log;
  /** How often leases are compared with namespaces, in ms (default: 30 s after the start, then every 5 minutes). */
  readonly sweep?: { readonly firstMs: number; readonly everyMs: number };
}

/** Events of the kernel that come together are one repair: this long after the first one, in ms. */
const settleMs = 100;
/** After a repair that failed, in ms. */
const retryMs = 2_000;

/**
 * Starts the daemon in the calling process's network namespace, which is the node's. Resolves when it answers calls:
 * with an error of "try again later" until Node.spec.podCIDRs is there; only then the configuration file appears.
 */
export async function startCniDaemon(options: CniDaemonOptions): Promise<{ stop(): Promise<void> }> {
  const daemon = new CniDaemon(options, options.nft ?? (await openNft()));
  try {
    await daemon.start();
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  return { stop: () => daemon.stop() };
}

class CniDaemon {
  readonly #options: CniDaemonOptions;
  readonly #log: Log;
  readonly #queueDir: string;
  readonly #nl = Netlink.open();
  readonly #store: LeaseStore;
  readonly #removal = new LinkRemoval();
  readonly #tables: PodTables;
  readonly #plugin: Plugin;
  readonly #ends: (() => void | Promise<void>)[] = [];
  #state: NodeState | undefined;
  /** The ranges that the bridge is to have, whether or not it could be set up yet. */
  #wanted: readonly Cidr[] = [];
  #suspects: ReadonlySet<string> = new Set();
  #repair: NodeJS.Timeout | undefined;
  readonly #loosePorts: LoosePorts = new Set();
  #look: NodeJS.Timeout | undefined;
  #draining = Promise.resolve();

  constructor(options: CniDaemonOptions, nft: Nft) {
    this.#options = options;
    this.#log = options.log;
    this.#queueDir = join(options.stateDir, 'queue');
    this.#store = openStore(join(options.stateDir, 'leases.db'), options);
    this.#tables = new PodTables(nft, options.log);
    const recorder = createRecorder(options.client, 'weft-cni', options.nodeName);
    const node = { kind: 'Node', apiVersion: 'v1', name: options.nodeName, uid: options.nodeName };
    this.#plugin = new Plugin({
      nl: this.#nl,
      store: this.#store,
      removal: this.#removal,
      tables: this.#tables,
      state: () => this.#state,
      exhausted: (message) => recorder.event(node, 'Warning', 'NoFreeAddress', message),
    });
  }

  async start(): Promise<void> {
    const { socketPath = '/run/weft/cni.sock', binDir = '/opt/cni/bin' } = this.#options;
    this.#adoptPods();
    for (const lease of this.#store.list()) this.#tables.set(lease);
    const kept = this.#store.ranges();
    if (kept.length > 0) this.#repairNow(kept);
    await this.#tables
      .start()
      .catch((error: unknown) =>
        this.#log.error({ err: error }, 'the rules of pods could not be written; each ADD tries again'),
      );
    this.#ends.push(() => this.#tables.stop());
    this.#ends.push(watchQueue(this.#queueDir, () => void this.#drain()));
    const server = await serveCalls(socketPath, (call) => this.#answer(call));
    this.#ends.push(() => server.stop());
    await this.#drain();
    installShim(binDir, { socketPath, queueDir: this.#queueDir });
    this.#watchKernel();
    this.#watchNode();
    this.#startSweeps();
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
    clearTimeout(this.#repair);
    clearTimeout(this.#look);
    await this.#draining;
    await this.#removal.stop();
    this.#nl.close();
    this.#store.close();
  }

  async #answer(call: Call): Promise<Answer> {
    const started = performance.now();
    const command = call.env.CNI_COMMAND;
    const container = call.env.CNI_CONTAINERID;
    try {
      const output = await this.#plugin.handle(parseRequest(call.env, call.stdin));
      this.#log.debug({ command, container, ms: Math.round(performance.now() - started) }, 'done');
      return { exitCode: 0, stdout: output === undefined ? '' : `${JSON.stringify(output)}\n` };
    } catch (error) {
      const failure = error instanceof CniError ? error : new CniError(errorCode.kernelRefused, String(error));
      this.#log.warn({ command, container, code: failure.code, details: failure.details }, failure.message);
      return { exitCode: 1, stdout: `${JSON.stringify(failure.toJson(versionForErrors(call.stdin)))}\n` };
    }
  }

  /** Before the first address is given: pods that run without a lease keep theirs. */
  #adoptPods(): void {
    const hostLinks = listLinks(this.#nl).filter(({ name }) => isHostLinkName(name));
    if (hostLinks.length <= this.#store.list().length) return;
    for (const lease of decideAdoption(hostLinks, this.#store.list(), findEnds())) {
      this.#store.adopt(lease);
      this.#log.warn(
        { netns: lease.netns, addresses: lease.addresses },
        'a pod runs without a lease: its addresses are kept',
      );
    }
  }

  /** One pass after the other: a file is handled once. */
  #drain(): Promise<void> {
    this.#draining = this.#draining.then(() => this.#drainOnce());
    return this.#draining;
  }

  async #drainOnce(): Promise<void> {
    try {
      await drainQueue(this.#queueDir, async (call) => {
        const request = this.#queued(call);
        if (request === undefined) return;
        await this.#plugin.handle(request);
        this.#log.info({ container: request.attachment.containerId }, 'did a DEL that came while the agent was down');
      });
    } catch (error) {
      this.#log.error({ err: error }, 'a queued DEL failed; it is tried again at the next start');
    }
  }

  #queued(call: Call): Extract<ReturnType<typeof parseRequest>, { command: 'DEL' }> | undefined {
    try {
      const request = parseRequest(call.env, call.stdin);
      return request.command === 'DEL' ? request : undefined;
    } catch (error) {
      this.#log.warn({ err: error }, 'left out a queued call that cannot be read');
      return undefined;
    }
  }

  #watchNode(): void {
    const { client, nodeName } = this.#options;
    const cache = client.cache(nodes, { fieldSelector: `metadata.name=${nodeName}` });
    this.#ends.push(() => cache.stop());
    const end = cache.subscribe((change) => {
      if (change.type !== 'deleted' && change.object.metadata.name === nodeName) this.#nodeChanged(change.object);
    });
    this.#ends.push(end);
  }

  #nodeChanged(node: Node): void {
    const ranges = podRanges(node, this.#options.clusterCidrs);
    if (ranges.length === 0 || ranges.join() === this.#wanted.join()) return;
    try {
      this.#store.setRanges(ranges);
    } catch (error) {
      this.#log.error({ err: error, ranges }, 'the ranges of this node could not be kept for the next start');
    }
    this.#repairNow(ranges);
  }

  #configure(ranges: readonly Cidr[]): void {
    const mtu = this.#options.mtu ?? underlayMtu(listLinks(this.#nl), listAddresses(this.#nl));
    const plan = planNode(ranges, Math.min(mtu, smallestPort(listLinks(this.#nl))));
    const { index, repairs } = ensureBridge(this.#nl, plan);
    this.#state = { ranges, mtu, plan, bridge: index };
    this.#setMasquerade(ranges);
    if (repairs.length > 0) this.#setUpPorts();
    if (repairs.length > 0) this.#log.info({ repairs, ranges, mtu }, 'the bridge is as it should be');
    installConfiguration(this.#options.confDir ?? '/etc/cni/net.d');
  }

  /** Ports that joined a bridge begin with its defaults. */
  #setUpPorts(): void {
    for (const { attachment, addresses, settings } of this.#store.list()) {
      const [first] = addresses;
      const link = findLink(this.#nl, hostLinkName(attachment));
      const mac = settings.mac ?? (first === undefined ? undefined : macOf(first));
      if (link?.master !== undefined && mac !== undefined) setUpPort(this.#nl, link.index, mac);
    }
  }

  /** Packets of pods keep their source within the cluster and on the networks that the node is in itself. */
  #setMasquerade(pods: readonly Cidr[]): void {
    const { masquerade = { except: [] }, clusterCidrs } = this.#options;
    const own = listAddresses(this.#nl).flatMap(({ address, prefix }) => parseCidr(`${address}/${prefix}`) ?? []);
    const inside =
      masquerade === false || clusterCidrs.length === 0 ? undefined : [...clusterCidrs, ...own, ...masquerade.except];
    this.#tables.setMasquerade(inside === undefined ? undefined : { pods, inside });
    this.#tables
      .apply()
      .catch((error: unknown) => this.#log.error({ err: error }, 'the rules of pods could not be written'));
  }

  /** The bridge deleted by hand, a port taken off it, forwarding switched off: the kernel says so, and it is put right. */
  #watchKernel(): void {
    this.#ends.push(
      monitorNetlink({ groups: bridgeGroups }, (event) => {
        this.#noteDeleted(event);
        if (this.#state === undefined) return;
        const bridge = { index: this.#state.bridge, plan: this.#state.plan.bridge };
        if (concernsBridge(event, bridge, this.#loosePorts)) this.#repairSoon(settleMs);
        else if (this.#loosePorts.size > 0) this.#lookSoon();
      }),
    );
  }

  #noteDeleted(event: MonitorEvent): void {
    if (event.type === 'overrun') return;
    // Of the family of bridges it says that a port left, not that the link is gone.
    const links = event.messages.filter(({ type, body }) => type === RTM_DELLINK && body.readUInt8(0) === 0);
    for (const { body } of links) this.#removal.deleted(body.readInt32LE(4));
    // The last pod with a small MTU may have gone: the bridge need not be as small any more.
    const state = this.#state;
    if (links.length > 0 && state !== undefined && state.plan.bridge.mtu < state.mtu) this.#repairSoon(settleMs);
  }

  /** After a short while, so that a series of events is one repair. */
  #repairSoon(delayMs: number): void {
    this.#repair ??= setTimeout(() => {
      this.#repair = undefined;
      this.#repairNow(this.#wanted);
    }, delayMs);
  }

  /** A port that is still loose after a while, and not on its way out, was taken off the bridge by someone. */
  #lookSoon(): void {
    this.#look ??= setTimeout(() => {
      this.#look = undefined;
      const isOff = [...this.#loosePorts].some((link) => !this.#removal.isLeaving(link));
      this.#loosePorts.clear();
      if (isOff) this.#repairSoon(0);
    }, settleMs);
  }

  /** A failure is tried again: what was in the way may have gone. */
  #repairNow(ranges: readonly Cidr[]): void {
    this.#wanted = ranges;
    try {
      this.#configure(ranges);
    } catch (error) {
      this.#log.error({ err: error, ranges }, `the bridge ${bridgeName} could not be set up; trying again`);
      this.#repairSoon(retryMs);
    }
  }

  #startSweeps(): void {
    const { firstMs, everyMs } = this.#options.sweep ?? { firstMs: 30_000, everyMs: 300_000 };
    this.#sweep();
    const first = setTimeout(() => this.#sweep(), firstMs).unref();
    const every = setInterval(() => this.#sweep(), everyMs).unref();
    this.#ends.push(() => {
      clearTimeout(first);
      clearInterval(every);
    });
  }

  #sweep(): void {
    const { release, suspects } = decideSweep(this.#store.list(), isNetns, this.#suspects);
    this.#suspects = suspects;
    if (release.length === 0) return;
    this.#log.info({ containers: release.map(attachmentKey) }, 'freeing the addresses of containers that are gone');
    this.#plugin.forget(release).catch((error: unknown) => this.#log.error({ err: error }, 'freeing addresses failed'));
  }
}

/** A damaged database is put aside, not deleted: running pods are found again without it. */
function openStore(file: string, { log, restMs }: CniDaemonOptions): LeaseStore {
  const options = restMs === undefined ? {} : { restMs };
  try {
    return new LeaseStore(file, options);
  } catch (error) {
    if (!isDamaged(error)) throw error;
    const aside = `${file}.damaged`;
    log.error({ err: error, aside }, 'the store of addresses is damaged: beginning a new one');
    renameSync(file, aside);
    for (const rest of ['-wal', '-shm']) rmSync(`${file}${rest}`, { force: true });
    return new LeaseStore(file, options);
  }
}

/**
 * Pods keep the MTU that they began with. A bridge drops without a word what is too large for a port, so that its own
 * is none larger; what comes for such a pod is cut, or refused with the size that fits. Infinite where there is no pod.
 */
function smallestPort(links: readonly Link[]): number {
  return Math.min(...links.filter(({ name }) => isHostLinkName(name)).map(({ mtu }) => mtu));
}

/** The ranges of a node that lie in the cluster's (all of them where the cluster's are not given). */
function podRanges(node: Node, clusterCidrs: readonly Cidr[]): Cidr[] {
  const texts = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  return texts.flatMap((text) => {
    const range = parseCidr(text);
    const first = parseIp(text.split('/')[0] ?? '');
    if (range === undefined || first === undefined) return [];
    return clusterCidrs.length === 0 || clusterCidrs.some((cluster) => cidrContains(cluster, first)) ? [range] : [];
  });
}
