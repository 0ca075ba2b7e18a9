// The verbs of CNI on this node: what each does with the leases and the kernel.
import { closeSync } from 'node:fs';
import { failedWith, SystemCallError } from '../linux/libc.ts';
import { deleteLink, linkIndex } from '../linux/links.ts';
import type { Netlink } from '../linux/netlink.ts';
import { isNetns } from '../linux/netns.ts';
import type { Cidr } from '../net/address.ts';
import { attach, inspectAttachment, openContainerNetns } from './attach.ts';
import { type Choice, decideChoices } from './ipam.ts';
import { attachmentKey, type Lease, type LeaseStore, type NewLease } from './lease-store.ts';
import type { LinkRemoval } from './link-removal.ts';
import {
  type AttachmentPlan,
  adoptedAttachment,
  hostLinkName,
  ifbName,
  type NodePlan,
  planAttachment,
  resultOf,
} from './plan.ts';
import type { PodTables } from './pod-tables.ts';
import { type Attachment, CniError, errorCode, type Result, resultJson, supportedVersions } from './protocol.ts';
import type { CniRequest } from './request.ts';
import type { PortMapping } from './wishes.ts';

/** What the node is at the moment; absent as long as it has no ranges. */
export interface NodeState {
  readonly ranges: readonly Cidr[];
  readonly mtu: number;
  readonly plan: NodePlan;
  /** The bridge's index. */
  readonly bridge: number;
}

type RequestOf<C extends CniRequest['command']> = Extract<CniRequest, { command: C }>;

/** What the verbs work with. */
export interface PluginParts {
  readonly nl: Netlink;
  readonly store: LeaseStore;
  readonly removal: LinkRemoval;
  readonly tables: PodTables;
  /** The node as it is now. */
  readonly state: () => NodeState | undefined;
  /** Called when a pod got no address because none is free. */
  readonly exhausted: (message: string) => void;
}

export class Plugin {
  readonly #nl: Netlink;
  readonly #store: LeaseStore;
  readonly #removal: LinkRemoval;
  readonly #tables: PodTables;
  readonly #parts: PluginParts;
  /** Attachments that a GC called invalid while their namespace still lived: the next GC takes them. */
  #condemned = new Set<string>();

  constructor(parts: PluginParts) {
    this.#nl = parts.nl;
    this.#store = parts.store;
    this.#removal = parts.removal;
    this.#tables = parts.tables;
    this.#parts = parts;
  }

  /** Does what is asked; the answer is what goes to standard output. Throws CniError. */
  async handle(request: CniRequest): Promise<object | undefined> {
    try {
      switch (request.command) {
        case 'ADD':
          return resultJson(await this.#add(request), request.version);
        case 'DEL':
          return await this.#delete(request.attachment);
        case 'CHECK':
          return this.#check(request);
        case 'GC':
          return await this.#collect(request);
        case 'STATUS':
          return this.#status();
        case 'VERSION':
          return { cniVersion: request.version, supportedVersions };
      }
    } catch (error) {
      throw asCniError(error, request.command);
    }
  }

  #node(): NodeState {
    const state = this.#parts.state();
    if (state !== undefined) return state;
    throw new CniError(errorCode.tryAgainLater, 'the node has no range for pods yet', 'Node.spec.podCIDRs is empty');
  }

  async #add(request: RequestOf<'ADD'>): Promise<Result> {
    const { attachment, netns: path, wishes } = request;
    const node = this.#node();
    const netns = openContainerNetns(path);
    try {
      const held = this.#store.get(attachment);
      if (held?.attached === true && linkIndex(hostLinkName(attachment)) !== undefined)
        throw new CniError(errorCode.interfaceExists, `${attachment.ifname} is attached to this container already`);
      this.#refuseTakenPorts(attachment, wishes.settings.ports);
      const { network, pod } = request;
      const wanted = { attachment, network, netns: path, pod, settings: wishes.settings };
      const lease = this.#acquire(wanted, decideChoices(node.ranges, wishes));
      const plan = await this.#attach(lease, node, netns);
      return resultOf(plan, node.plan, request.previous, wishes.dns);
    } finally {
      closeSync(netns);
    }
  }

  #acquire(wanted: NewLease, choices: readonly Choice[]): Lease {
    try {
      return this.#store.acquire(wanted, choices);
    } catch (error) {
      if (error instanceof CniError && error.code === errorCode.noAddress) this.#parts.exhausted(error.message);
      throw error;
    }
  }

  /** A host port leads to one container: the one that has it, as long as it lives. */
  #refuseTakenPorts(attachment: Attachment, ports: readonly PortMapping[]): void {
    if (ports.length === 0) return;
    for (const lease of this.#store.list()) {
      if (attachmentKey(lease.attachment) === attachmentKey(attachment)) continue;
      const taken = ports.find((port) => lease.settings.ports.some((other) => collide(port, other)));
      if (taken === undefined || !isNetns(lease.netns)) continue;
      const holder = lease.pod === '' ? lease.attachment.containerId : lease.pod;
      throw new CniError(errorCode.portTaken, `the host port ${taken.hostPort}/${taken.protocol} is held by ${holder}`);
    }
  }

  /** The rules and the lease are written while the links are made; all is there before the answer. */
  async #attach(lease: Lease, node: NodeState, netns: number): Promise<AttachmentPlan> {
    try {
      const plan = planAttachment(lease, node.ranges, node.mtu);
      this.#tables.set(lease);
      const written = Promise.all([this.#store.durable(), this.#tables.apply()]);
      try {
        attach(this.#nl, plan, netns, node.bridge);
      } finally {
        await written;
      }
      await this.#tables.forgetFlows(lease, 'opened');
      if (this.#store.get(lease.attachment) !== lease)
        throw new CniError(errorCode.tryAgainLater, `${lease.attachment.containerId} was deleted while it was added`);
      this.#store.complete(lease);
      return plan;
    } catch (error) {
      deleteLink(this.#nl, hostLinkName(lease.attachment));
      this.#release(lease);
      throw error;
    }
  }

  /** Frees the addresses, unless the attachment has got another lease meanwhile. */
  #release(lease: Lease): void {
    if (this.#store.get(lease.attachment) !== lease) return;
    this.#store.release(lease.attachment);
    this.#tables.delete(lease.attachment);
  }

  /**
   * Succeeds whatever is left of the attachment: nothing, a part, or all of it. The link goes before the address. An ADD
   * of the same attachment that came in between keeps what it made.
   */
  async #delete(attachment: Attachment): Promise<undefined> {
    const link = hostLinkName(attachment);
    const adopted = adoptedAttachment(link, attachment.ifname);
    const leases = [attachment, adopted].flatMap((one) => this.#store.get(one) ?? []);
    await this.#removal.remove(link, ifbName(attachment));
    for (const lease of leases) this.#release(lease);
    this.#condemned.delete(attachmentKey(attachment));
    if (leases.length === 0) return;
    await this.#tables.apply();
    for (const lease of leases) await this.#tables.forgetFlows(lease, 'closed');
  }

  #check(request: RequestOf<'CHECK'>): undefined {
    const lease = this.#store.get(request.attachment);
    if (lease === undefined)
      throw new CniError(errorCode.checkFailed, `no address is reserved for ${request.attachment.containerId}`);
    const node = this.#node();
    const plan = planAttachment({ ...lease, netns: request.netns }, node.ranges, node.mtu);
    const netns = openContainerNetns(request.netns);
    try {
      const problems = [
        ...missingInResult(
          plan.container.addresses.map(({ address, prefix }) => `${address}/${prefix}`),
          request.previous,
        ),
        ...inspectAttachment(this.#nl, plan, netns, node.bridge),
      ];
      if (problems.length > 0) throw new CniError(errorCode.checkFailed, problems.join('; '));
      return undefined;
    } finally {
      closeSync(netns);
    }
  }

  /**
   * Frees what the runtime does not know any more. An attachment whose namespace still lives is only condemned the
   * first time: a runtime that has just forgotten its pods must not cost them their addresses.
   */
  async #collect(request: RequestOf<'GC'>): Promise<undefined> {
    const valid = new Set(request.valid.map(attachmentKey));
    const stale = this.#store
      .list()
      .filter((lease) => lease.network === request.network && !valid.has(attachmentKey(lease.attachment)));
    const isCondemned = (lease: Lease): boolean =>
      this.#condemned.has(attachmentKey(lease.attachment)) || !isNetns(lease.netns);
    const freed = stale.filter(isCondemned);
    this.#condemned = new Set(
      stale.filter((lease) => !freed.includes(lease)).map((lease) => attachmentKey(lease.attachment)),
    );
    await this.forget(freed.map((lease) => lease.attachment));
  }

  /** Frees what is left of containers that are known to be gone. Throws CniError with all failures, after all tries. */
  async forget(attachments: readonly Attachment[]): Promise<void> {
    const outcomes = await Promise.allSettled(attachments.map((attachment) => this.#delete(attachment)));
    const failures = outcomes.flatMap((outcome, index) =>
      outcome.status === 'rejected' ? [`${attachments[index]?.containerId}: ${messageOf(outcome.reason)}`] : [],
    );
    if (failures.length > 0) throw new CniError(errorCode.kernelRefused, failures.join('; '));
  }

  #status(): undefined {
    const state = this.#parts.state();
    if (state === undefined)
      throw new CniError(errorCode.notAvailable, 'the node has no range for pods yet', 'Node.spec.podCIDRs is empty');
    const full = state.ranges.find((range) => this.#store.isFull(range));
    if (full !== undefined) throw new CniError(errorCode.notAvailable, `no address is free in ${full}`);
    return undefined;
  }
}

function missingInResult(addresses: readonly string[], previous: Result): string[] {
  return addresses
    .filter((address) => !previous.ips.some((ip) => ip.address === address))
    .map((address) => `the address ${address} of this container is not in prevResult`);
}

const collide = (a: PortMapping, b: PortMapping): boolean =>
  a.protocol === b.protocol &&
  a.hostPort === b.hostPort &&
  (a.hostIp === undefined || b.hostIp === undefined || a.hostIp === b.hostIp);

/** A failure of the kernel or the disk in the words of CNI. */
function asCniError(error: unknown, command: string): CniError {
  if (error instanceof CniError) return error;
  const message = messageOf(error);
  if (error instanceof SystemCallError) return new CniError(errorCode.kernelRefused, `${command}: ${message}`);
  if (failedWith(error, 'ERR_SQLITE_ERROR', 'ENOSPC', 'EIO', 'EROFS'))
    return new CniError(errorCode.ioFailure, `${command}: the store of addresses: ${message}`);
  return new CniError(errorCode.kernelRefused, `${command}: ${message}`);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
