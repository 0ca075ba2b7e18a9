// The allocator at work: gives Services of type LoadBalancer their addresses and takes them back.
import { isDeepStrictEqual } from 'node:util';
import { type Cache, type Client, isConflict, isNotFound } from '../k8s/client.ts';
import { createRecorder, type Recorder } from '../k8s/events.ts';
import { ipAddressPools, loadBalancerAnnotation, serviceL2Statuses } from '../k8s/load-balancer.ts';
import { type KubeObject, keyOf, type ObjectKey, type Stored } from '../k8s/object.ts';
import { namespaces, nodes, services } from '../k8s/resources.ts';
import type { Service } from '../k8s/types.generated.ts';
import { createWorkQueue, type WorkQueue } from '../k8s/work-queue.ts';
import type { Log } from '../log/log.ts';
import { type Ip, parseIp } from '../net/address.ts';
import { type Allocation, Allocator } from './allocator.ts';
import { type ConfigurationCache, followConfiguration } from './configuration-cache.ts';
import { addressesOf, wantsAddress } from './request.ts';
import { Telling } from './telling.ts';

export interface LoadBalancerControllerOptions {
  readonly client: Client;
  readonly log: Log;
}

/** Keeps a Service until its address is taken back (KEP-980). */
export const cleanupFinalizer = 'service.kubernetes.io/load-balancer-cleanup';
/** The counts of pools are written at most so often, in ms. */
const countPauseMs = 200;
/** A pool and what announces it are rarely made in one moment: so long an address may be without, in ms. */
const announcementPatienceMs = 2000;

/** Starts the controller. There must be one in a cluster. */
export function startLoadBalancerController(options: LoadBalancerControllerOptions): { stop(): Promise<void> } {
  const controller = new LoadBalancerController(options);
  void controller.start();
  return controller;
}

class LoadBalancerController {
  readonly #client: Client;
  readonly #log: Log;
  readonly #recorder: Recorder;
  readonly #services;
  readonly #namespaces;
  readonly #nodes;
  readonly #statuses;
  readonly #pools;
  readonly #configuration: ConfigurationCache;
  readonly #allocator = new Allocator();
  /** Services without an address, and why; each reason is told once. */
  readonly #pending = new Map<string, string>();
  /** What Services were told of the address that they have. */
  readonly #given = new Map<string, string>();
  readonly #telling: Telling;
  readonly #queue: WorkQueue;
  readonly #counts: WorkQueue;
  readonly #announcements: WorkQueue;
  #stopped = false;

  constructor({ client, log }: LoadBalancerControllerOptions) {
    this.#client = client;
    this.#log = log;
    this.#recorder = createRecorder(client, 'load-balancer-controller');
    this.#telling = new Telling({ client, recorder: this.#recorder, log });
    this.#services = client.cache(services);
    this.#namespaces = client.cache(namespaces);
    this.#nodes = client.cache(nodes);
    this.#statuses = client.cache(serviceL2Statuses);
    this.#pools = client.cache(ipAddressPools);
    this.#configuration = followConfiguration(client);
    const onError = (key: string, error: unknown, failures: number): void => {
      if (isConflict(error) || isNotFound(error)) return;
      log[failures < 3 ? 'debug' : 'warn']({ key, err: error, failures }, 'load balancer: will try again');
    };
    this.#queue = createWorkQueue({ concurrency: 8, run: (key) => this.#reconcile(key), onError });
    this.#announcements = createWorkQueue({ run: (key) => this.#checkAnnounced(key), onError });
    this.#counts = createWorkQueue({ concurrency: 1, run: () => this.#writeCounts(), onError });
  }

  get #caches(): readonly Pick<Cache<KubeObject>, 'synced' | 'stop'>[] {
    return [this.#services, this.#namespaces, this.#nodes, this.#statuses, this.#pools];
  }

  async start(): Promise<void> {
    // A decision on half of the objects would give an address away that somebody has.
    await Promise.all([...this.#caches.map((cache) => cache.synced), this.#configuration.synced]);
    if (this.#stopped) return;
    this.#configure();
    for (const service of this.#inOrder()) if (addressesOf(service).length > 0) this.#assign(service);
    for (const service of this.#inOrder()) if (this.#concerns(service)) this.#queue.add(keyOf(service));
    this.#services.subscribe(({ object, type }) => {
      if (!this.#concerns(object)) return;
      if (type === 'deleted') this.#forget(keyOf(object));
      else this.#queue.add(keyOf(object));
    });
    this.#configuration.subscribe(() => this.#reconfigure());
    this.#telling.subscribe(() => this.#reconfigure());
    this.#nodes.subscribe((change) => {
      if (change.type === 'updated' && isDeepStrictEqual(nodeIps(change.object), nodeIps(change.old))) return;
      this.#reconfigure();
    });
    this.#namespaces.subscribe((change) => {
      const { object } = change;
      if (change.type === 'updated' && !isDeepStrictEqual(change.old.metadata.labels, object.metadata.labels))
        for (const service of this.#services.list(object.metadata.name)) this.#queue.add(keyOf(service));
    });
    this.#statuses.subscribe(() => this.#counts.addAfter('all', countPauseMs));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#configuration.stop();
    this.#telling.stop();
    for (const cache of this.#caches) cache.stop();
    await Promise.all([this.#queue.stop(), this.#counts.stop(), this.#announcements.stop(), this.#recorder.flush()]);
  }

  /** Whether a Service is to have an address, or has one of here. */
  #concerns(service: Stored<Service>): boolean {
    const key = keyOf(service);
    if (wantsAddress(service) || this.#allocator.holds(key) || this.#pending.has(key)) return true;
    return loadBalancerAnnotation.allocatedFrom in (service.metadata.annotations ?? {});
  }

  /** The Services as they came: what is decided does not depend on the order in which they are listed. */
  #inOrder(): Stored<Service>[] {
    const age = (service: Stored<Service>): string => `${service.metadata.creationTimestamp} ${keyOf(service)}`;
    return this.#services.list().toSorted((a, b) => (age(a) < age(b) ? -1 : 1));
  }

  #configure(): void {
    const configuration = this.#configuration.current;
    this.#allocator.configure(configuration.pools, new Set(this.#nodes.list().flatMap(nodeIps)));
    this.#telling.configuration(configuration);
  }

  #reconfigure(): void {
    this.#configure();
    for (const service of this.#inOrder()) if (service.spec.type === 'LoadBalancer') this.#queue.add(keyOf(service));
    this.#counts.addAfter('all', 0);
  }

  #assign(service: Service): Allocation {
    const { namespace = '' } = service.metadata;
    const labels = this.#namespaces.get({ name: namespace })?.metadata.labels ?? {};
    return this.#allocator.assign(service, addressesOf(service), labels);
  }

  async #reconcile(key: string): Promise<void> {
    const [namespace = '', name = ''] = key.split('/');
    const service = this.#services.get({ namespace, name });
    if (service === undefined) return;
    if (!wantsAddress(service)) return this.#takeBack(service);
    const allocation = this.#assign(service);
    this.#counts.addAfter('all', countPauseMs);
    if ('problem' in allocation) return this.#leavePending(service, allocation.problem);
    this.#pending.delete(key);
    await this.#give(service, allocation.addresses, allocation.pools);
    this.#announcements.addAfter(key, announcementPatienceMs);
  }

  async #give(service: Stored<Service>, addresses: readonly Ip[], pools: readonly string[]): Promise<void> {
    const { finalizers = [], annotations = {} } = service.metadata;
    const pool = pools.join(',');
    if (!finalizers.includes(cleanupFinalizer) || annotations[loadBalancerAnnotation.allocatedFrom] !== pool)
      await this.#patch(service, {
        metadata: {
          resourceVersion: service.metadata.resourceVersion,
          finalizers: [...new Set([...finalizers, cleanupFinalizer])],
          annotations: { [loadBalancerAnnotation.allocatedFrom]: pool },
        },
      });
    const ingress = addresses.map((ip) => ({ ip, ipMode: 'VIP' }));
    if (isDeepStrictEqual(service.status?.loadBalancer?.ingress, ingress)) return;
    await this.#patch(service, { status: { loadBalancer: { ingress } } }, 'status');
    const text = `Assigned IP ${addresses.join(', ')} from pool ${pool}`;
    // The object that is known here may be older than the last gift.
    if (this.#given.get(keyOf(service)) === text) return;
    this.#given.set(keyOf(service), text);
    this.#recorder.event(service, 'Normal', 'IPAllocated', text);
    this.#log.info({ service: keyOf(service), addresses, pool }, 'a load balancer has its address');
  }

  async #leavePending(service: Stored<Service>, reason: string): Promise<void> {
    const key = keyOf(service);
    this.#given.delete(key);
    if (this.#pending.get(key) !== reason) {
      this.#recorder.event(service, 'Warning', 'AllocationFailed', `No address for this load balancer: ${reason}`);
      this.#pending.set(key, reason);
    }
    if (!service.status?.loadBalancer?.ingress?.length) return;
    await this.#patch(service, { status: { loadBalancer: { ingress: null } } }, 'status');
    this.#tryPending();
  }

  /** Of a Service that is no load balancer of Weft's any more, or is being deleted. */
  async #takeBack(service: Stored<Service>): Promise<void> {
    const { finalizers = [], annotations = {}, deletionTimestamp } = service.metadata;
    const isOurs = loadBalancerAnnotation.allocatedFrom in annotations;
    if (isOurs) {
      const isListed = (service.status?.loadBalancer?.ingress?.length ?? 0) > 0;
      if (isListed && deletionTimestamp === undefined)
        await this.#patch(service, { status: { loadBalancer: { ingress: null } } }, 'status');
      await this.#patch(service, {
        metadata: {
          finalizers: finalizers.filter((one) => one !== cleanupFinalizer),
          annotations: { [loadBalancerAnnotation.allocatedFrom]: null },
        },
      });
    }
    this.#forget(keyOf(service));
  }

  #forget(key: string): void {
    this.#allocator.release(key);
    this.#pending.delete(key);
    this.#given.delete(key);
    this.#telling.forget(key);
    this.#counts.addAfter('all', countPauseMs);
    this.#tryPending();
  }

  /** Those that wait may have what came free, the oldest first. */
  #tryPending(): void {
    if (this.#pending.size === 0) return;
    for (const service of this.#inOrder()) if (this.#pending.has(keyOf(service))) this.#queue.add(keyOf(service));
  }

  async #patch(service: Stored<Service>, body: object, subresource?: 'status'): Promise<void> {
    await this.#client.patch(services, service.metadata, { type: 'merge', body }, subresource);
  }

  async #checkAnnounced(key: string): Promise<void> {
    const [namespace = '', name = ''] = key.split('/');
    const service = this.#services.get({ namespace, name });
    if (service !== undefined && wantsAddress(service))
      this.#telling.announcement(service, this.#configuration.current);
  }

  /** The counts of the pools, and no status of announcements of what is no load balancer any more. */
  async #writeCounts(): Promise<void> {
    for (const pool of this.#configuration.current.pools) {
      const { IPv4, IPv6 } = this.#allocator.usage(pool);
      const status = {
        assignedIPv4: IPv4.assigned,
        assignedIPv6: IPv6.assigned,
        availableIPv4: IPv4.available,
        availableIPv6: IPv6.available,
      };
      if (isDeepStrictEqual(this.#pools.get(pool)?.status, status)) continue;
      await this.#client.patch(ipAddressPools, pool, { type: 'merge', body: { status } }, 'status').catch(ignoreGone);
    }
    for (const { metadata, status } of this.#statuses.list()) {
      const service = this.#services.get({
        namespace: status?.serviceNamespace ?? '',
        name: status?.serviceName ?? '',
      });
      const isCurrent = service !== undefined && wantsAddress(service) && addressesOf(service).length > 0;
      const hasNode = this.#nodes.get({ name: status?.node ?? '' }) !== undefined;
      if (status?.node !== undefined && !(isCurrent && hasNode)) await this.#deleteStatus(metadata);
    }
  }

  async #deleteStatus(key: ObjectKey): Promise<void> {
    await this.#client.delete(serviceL2Statuses, key).catch(ignoreGone);
  }
}

function nodeIps({ status }: { status?: { addresses?: readonly { address: string }[] } }): Ip[] {
  return (status?.addresses ?? []).flatMap(({ address }) => parseIp(address) ?? []);
}

function ignoreGone(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
