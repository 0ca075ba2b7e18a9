// A node's part in load balancers: follows Services and nodes, answers for the addresses that are its own to announce.
import { isDeepStrictEqual } from 'node:util';
import { type Cache, type Client, isNotFound } from '../k8s/client.ts';
import { createRecorder, type Recorder } from '../k8s/events.ts';
import { type NodeBGPAnnouncement, nodeBgpAnnouncements, onLinkAnnotation } from '../k8s/load-balancer.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { nodes, services } from '../k8s/resources.ts';
import type { Node, Service } from '../k8s/types.generated.ts';
import { createWorkQueue, type WorkQueue } from '../k8s/work-queue.ts';
import { listAddresses } from '../linux/addresses.ts';
import { Netlink } from '../linux/netlink.ts';
import type { Log } from '../log/log.ts';
import { type Ip, parseCidr, parseIp } from '../net/address.ts';
import { type ConfigurationCache, followConfiguration } from './configuration-cache.ts';
import { isLocal } from './endpoints.ts';
import { Liveness } from './liveness.ts';
import { type PlanInput, planBgp, planService, type ServicePlan } from './plan.ts';
import { addressesOf, wantsAddress } from './request.ts';
import { Responder } from './responder.ts';
import { FollowedSlices } from './slices.ts';
import { L2Statuses } from './statuses.ts';

export interface AnnouncerOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly nodeAddresses: readonly Ip[];
  readonly log: Log;
}

/** Changes that come together are decided on once, after so many ms. */
const settleMs = 10;

/** Starts the announcer in this process's network namespace. When it ends, nobody answers for its addresses here. */
export function startAnnouncer(options: AnnouncerOptions): { stop(): Promise<void> } {
  const announcer = new Announcer(options);
  announcer.start().catch((error: unknown) => options.log.error({ err: error }, 'load balancers are not announced'));
  return announcer;
}

class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #services;
  readonly #slices: FollowedSlices;
  readonly #nodes;
  readonly #configuration: ConfigurationCache;
  /** The Services that have an address to announce. */
  readonly #balanced = new Map<string, Stored<Service>>();
  readonly #recorder: Recorder;
  readonly #liveness: Liveness;
  readonly #responder: Responder;
  readonly #statuses: L2Statuses;
  readonly #writes: WorkQueue;
  /** What is announced of each of them. */
  readonly #plans = new Map<string, ServicePlan>();
  #bgp: NodeBGPAnnouncement['spec'] = {};
  /** Services to decide on again; all, where nodes or the configuration have changed. */
  readonly #dirty = new Set<string>();
  #isAllDirty = true;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    const { client, nodeName, nodeAddresses, log } = options;
    this.#services = client.cache(services);
    this.#slices = new FollowedSlices(client, (service) => {
      if (this.#balanced.has(service)) this.#soon(service);
    });
    this.#nodes = client.cache(nodes);
    this.#configuration = followConfiguration(client);
    this.#recorder = createRecorder(client, 'load-balancer-announcer', nodeName);
    this.#responder = new Responder({ nodeAddresses, log });
    this.#liveness = new Liveness({ nodeName, addresses: nodeAddresses, log, onChange: () => this.#reelect() });
    this.#statuses = new L2Statuses({ client, nodeName, log });
    this.#writes = createWorkQueue({
      concurrency: 1,
      run: (what) => (what === 'bgp' ? this.#writeBgp() : this.#tellNetworks()),
      onError: (what, error, failures) =>
        log[failures < 4 ? 'debug' : 'warn']({ what, err: error }, 'load balancers: cannot be told, will try again'),
    });
  }

  get #caches(): readonly Pick<Cache<KubeObject>, 'synced' | 'stop'>[] {
    return [this.#services, this.#nodes];
  }

  async start(): Promise<void> {
    await Promise.all([...this.#caches.map((cache) => cache.synced), this.#configuration.synced]);
    if (this.#stopped) return;
    this.#services.subscribe(({ type, object }) => {
      const key = keyOf(object);
      const isBalanced = type !== 'deleted' && wantsAddress(object) && addressesOf(object).length > 0;
      if (isBalanced) this.#balanced.set(key, object);
      else if (!this.#balanced.delete(key)) return;
      this.#soon(key);
    });
    this.#nodes.subscribe((change) => {
      if (change.type === 'updated' && isSame(change.old, change.object)) return;
      if (change.object.metadata.name === this.#options.nodeName) this.#writes.add('networks');
      this.#soon();
    });
    this.#configuration.subscribe(() => this.#soon());
    this.#decide();
    // What an earlier agent has told may be wrong by now.
    this.#writes.add('bgp');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#liveness.stop();
    this.#responder.stop();
    this.#slices.stop();
    this.#configuration.stop();
    for (const cache of this.#caches) cache.stop();
    await Promise.all([this.#writes.stop(), this.#statuses.stop(), this.#recorder.flush()]);
  }

  /** Decides on a Service again, or on all. */
  #soon(service?: string): void {
    if (service === undefined) this.#isAllDirty = true;
    else this.#dirty.add(service);
    this.#timer ??= setTimeout(() => this.#decide(), settleMs);
  }

  /** A node came or went: what is this one's now is told to all, for they may have heard of another owner meanwhile. */
  #reelect(): void {
    this.#isAllDirty = true;
    this.#decide();
    this.#responder.announceAgain();
  }

  #decide(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped) return;
    const configuration = this.#configuration.current;
    const matters = [...this.#balanced.values()].some(isLocal) || configuration.bgp.length > 0;
    this.#slices.follow(matters && this.#balanced.size > 0, () => this.#soon());
    // Nobody is to lose an address for the moment in which it is not known where Services answer.
    if (matters && this.#balanced.size > 0 && !this.#slices.isKnown) return;
    const isAll = this.#isAllDirty;
    const keys = isAll ? new Set([...this.#balanced.keys(), ...this.#plans.keys()]) : new Set(this.#dirty);
    this.#isAllDirty = false;
    this.#dirty.clear();
    const input: PlanInput = {
      nodeName: this.#options.nodeName,
      nodes: this.#nodes.list(),
      slicesOf: (service) => this.#slices.of(service),
      configuration,
      isAlive: (node) => this.#liveness.isAlive(node),
    };
    let isChanged = isAll;
    for (const key of keys) {
      const service = this.#balanced.get(key);
      const [before, now] = [this.#plans.get(key), service && planService(service, input)];
      if (isDeepStrictEqual(before, now)) continue;
      isChanged = true;
      if (now === undefined) this.#plans.delete(key);
      else this.#plans.set(key, now);
      if (now !== undefined) this.#tellAssigned(before, now);
    }
    if (isChanged) this.#apply(input);
  }

  #apply(input: PlanInput): void {
    const plans = [...this.#plans.values()];
    const l2 = plans.flatMap((plan) => plan.l2);
    const isElecting = plans.some((plan) => plan.isElecting);
    this.#liveness.follow(this.#nodes.list().filter(isReady).map(peerOf), isElecting);
    this.#responder.set(l2);
    this.#statuses.set(l2.map((owned) => ({ ...owned, links: this.#responder.linksOf(owned.address) })));
    const bgp = planBgp(plans, input);
    if (!isDeepStrictEqual(this.#bgp, bgp)) this.#writes.add('bgp');
    this.#bgp = bgp;
  }

  /** Events in MetalLB's words. */
  #tellAssigned(before: ServicePlan | undefined, now: ServicePlan): void {
    const { nodeName, log } = this.#options;
    const had = new Set(before?.l2.map(({ address }) => address));
    const added = now.l2.flatMap(({ address }) => (had.has(address) ? [] : [address]));
    const tell = (protocol: string): void =>
      this.#recorder.event(
        now.service,
        'Normal',
        'nodeAssigned',
        `announcing from node "${nodeName}" with protocol "${protocol}"`,
      );
    if (added.length > 0) {
      tell('layer2');
      log.info({ service: keyOf(now.service), addresses: added }, 'this node announces the address');
    }
    if (now.routes.length > 0 && (before?.routes.length ?? 0) === 0) tell('bgp');
  }

  /** Tells the other nodes which networks this one is on: addresses of those are best announced there. */
  async #tellNetworks(): Promise<void> {
    const { client, nodeName, nodeAddresses } = this.#options;
    using nl = Netlink.open();
    const networks = listAddresses(nl).flatMap(({ address, prefix }) =>
      nodeAddresses.includes(address) ? (parseCidr(`${address}/${prefix}`) ?? []) : [],
    );
    const text = networks.sort().join(',');
    const node = this.#nodes.get({ name: nodeName });
    if (node === undefined || node.metadata.annotations?.[onLinkAnnotation] === text) return;
    const body = { metadata: { annotations: { [onLinkAnnotation]: text } } };
    await client.patch(nodes, { name: nodeName }, { type: 'merge', body });
  }

  async #writeBgp(): Promise<void> {
    const { client, nodeName } = this.#options;
    const spec = this.#bgp;
    const key = { name: nodeName };
    const present = await client.get(nodeBgpAnnouncements, key).catch(undefinedWhereMissing);
    if (spec.peers === undefined && spec.routes === undefined) {
      if (present !== undefined) await client.delete(nodeBgpAnnouncements, key);
      return;
    }
    if (present !== undefined) {
      if (!isDeepStrictEqual(present.spec, spec)) await client.update(nodeBgpAnnouncements, { ...present, spec });
      return;
    }
    const node = this.#nodes.get(key);
    await client.create(nodeBgpAnnouncements, {
      apiVersion: 'network.weft.dev/v1alpha1',
      kind: 'NodeBGPAnnouncement',
      metadata: { name: nodeName, ...(node !== undefined && { ownerReferences: [ownedByNode(node)] }) },
      spec,
    } satisfies NodeBGPAnnouncement);
  }
}

function ownedByNode({ metadata: { name, uid } }: Stored<Node>) {
  return { apiVersion: 'v1', kind: 'Node', name, uid };
}

function isReady({ status }: Node): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

function peerOf({ metadata, status }: Stored<Node>): { name: string; addresses: Ip[] } {
  const addresses = (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
  return { name: metadata.name, addresses: addresses.flatMap(({ address }) => parseIp(address) ?? []) };
}

/** Whether nothing of a Node changed that is of concern here: it is written to all the time. */
function isSame(a: Stored<Node>, b: Stored<Node>): boolean {
  const [one, other] = [a, b].map((node) => [
    isReady(node),
    peerOf(node),
    node.metadata.labels,
    node.metadata.annotations?.[onLinkAnnotation],
  ]);
  return isDeepStrictEqual(one, other);
}

function undefinedWhereMissing(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}
