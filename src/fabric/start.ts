// The fabric of a node: follows the chosen kind, changes from one to another without a gap, and says what is in place.
import { join } from 'node:path';
import type { Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { type FabricKindName, fabricAnnotation, inPlaceName } from '../k8s/network-config.ts';
import { nodes } from '../k8s/resources.ts';
import { writeSysctl } from '../linux/netns.ts';
import { hasWireguard } from '../linux/wireguard.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, familyOf } from '../net/address.ts';
import { type CompanionOptions, decideFabric, type FabricCompanion, kinds } from './kinds.ts';
import { FabricLoop, type Pass } from './loop.ts';
import { makeNodeKey, type NodeKey, readNodeKey } from './node-key.ts';
import type { FabricLink } from './plan.ts';
import { FabricReport } from './report.ts';

export interface FabricOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly clusterCidrs: readonly Cidr[];
  /** Where the files of what runs for a fabric are (BIRD's); a default of its own where absent. */
  readonly runDir?: string;
  /** Where the node keeps its private key for encryption, across restarts. */
  readonly stateDir: string;
  readonly log: Log;
}

/**
 * Starts the fabric in the calling process's network namespace, which is the node's. What is in the kernel stays when
 * it is stopped: pods go on talking while the agent restarts.
 */
export async function startFabric(options: FabricOptions): Promise<{ stop(): Promise<void> }> {
  const agent = new FabricAgent(options);
  enableForwarding(options.clusterCidrs);
  agent.loop.start();
  return { stop: () => agent.stop() };
}

interface Running {
  readonly name: FabricKindName;
  readonly companion: FabricCompanion | undefined;
}

class FabricAgent {
  readonly loop: FabricLoop;
  readonly #options: FabricOptions;
  readonly #report: FabricReport;
  #current: Running | undefined;
  /** Kinds that were chosen before and still run until the current one is in place. */
  readonly #former: Running[] = [];
  #isCleared = false;
  #key: NodeKey | undefined;

  constructor(options: FabricOptions) {
    const { client, nodeName, clusterCidrs, log } = options;
    this.#options = options;
    const recorder = createRecorder(client, 'weft-fabric', nodeName);
    const node = { kind: 'Node', apiVersion: 'v1', name: nodeName, uid: nodeName };
    this.#report = new FabricReport(log, recorder, node);
    this.loop = new FabricLoop({ client, context: { nodeName, clusterCidrs }, log }, (pass) => this.#pass(pass));
  }

  async stop(): Promise<void> {
    await this.loop.stop();
    for (const { companion } of [...this.#former, ...(this.#current === undefined ? [] : [this.#current])])
      await companion?.stop({ remove: false });
  }

  async #pass({ input: seen, kernel, surprised, problems }: Pass): Promise<boolean> {
    const { fabric, encrypted } = seen.config;
    const key = this.#nodeKey(encrypted);
    const input = key === undefined ? seen : { ...seen, wireguardKey: key.publicKey };
    const plan = decideFabric(input);
    if (plan.waitsFor !== undefined) {
      this.#report.problems([...problems, ...plan.problems], plan.waitsFor);
      return true;
    }
    const { companion } = await this.#running(fabric);
    const secret = key === undefined ? {} : { privateKey: key.privateKey };
    const added = kernel.write(plan, { prune: false, ...secret });
    const isComplete = companion === undefined || (await companion.follow(input));
    const pruned = isComplete ? kernel.write(plan, { prune: true, ...secret }) : { done: [], failed: added.failed };
    this.#report.written({ ...pruned, done: [...added.done, ...pruned.done] }, surprised);
    this.#report.problems([...problems, ...plan.problems, ...pruned.failed]);
    if (isComplete) await this.#retire(fabric);
    const isAnnounced = isComplete && (await this.#announce(inPlaceName(fabric, encrypted), plan.links));
    return isComplete && isAnnounced && pruned.failed.length === 0;
  }

  /** That of an earlier life; a new one where there is none and it is needed. */
  #nodeKey(isNeeded: boolean): NodeKey | undefined {
    if (this.#key !== undefined) return this.#key;
    const file = join(this.#options.stateDir, 'wireguard.key');
    const present = readNodeKey(file);
    if ((present === undefined && !isNeeded) || !hasWireguard()) return undefined;
    this.#key = present ?? makeNodeKey(file);
    if (present !== undefined) return present;
    this.#options.log.info({ publicKey: this.#key.publicKey }, 'a new key for WireGuard');
    return this.#key;
  }

  /** The chosen kind, started where it is a new choice. */
  async #running(name: FabricKindName): Promise<Running> {
    if (this.#current?.name === name) return this.#current;
    if (this.#current !== undefined) this.#former.push(this.#current);
    this.#options.log.info({ fabric: name, former: this.#current?.name }, 'the fabric');
    // One that was left a moment ago and is chosen again goes on.
    const again = this.#former.findIndex((former) => former.name === name);
    const [kept] = again < 0 ? [] : this.#former.splice(again, 1);
    this.#current = kept ?? { name, companion: await kinds[name]?.start?.(this.#companionOptions) };
    return this.#current;
  }

  get #companionOptions(): CompanionOptions {
    return this.#options;
  }

  /** The current kind is in place: what others left goes. */
  async #retire(current: FabricKindName): Promise<void> {
    for (const { companion } of this.#former.splice(0)) await companion?.stop({ remove: true });
    if (this.#isCleared) return;
    this.#isCleared = true;
    for (const [name, kind] of Object.entries(kinds)) if (name !== current) await kind.clear?.(this.#companionOptions);
  }

  /** Tells the other nodes what is in place here, by annotations of the own Node. True when they are as they should be. */
  async #announce(inPlace: string, links: readonly FabricLink[]): Promise<boolean> {
    const { client, nodeName, log } = this.#options;
    const node = this.loop.node(nodeName);
    if (node === undefined) return true;
    const { annotations = {} } = node.metadata;
    const vxlan = links.find((link) => link.kind === 'vxlan');
    const wireguard = links.find((link) => link.kind === 'wireguard');
    const wanted = {
      [fabricAnnotation.inPlace]: inPlace,
      [fabricAnnotation.vtep]: vxlan?.local,
      [fabricAnnotation.wireguard]: wireguard?.publicKey,
    };
    const different = Object.entries(wanted).filter(([key, value]) => annotations[key] !== value);
    if (different.length === 0) return true;
    const changes = Object.fromEntries(different.map(([key, value]) => [key, value ?? null]));
    try {
      await client.patch(nodes, { name: nodeName }, { type: 'merge', body: { metadata: { annotations: changes } } });
      return true;
    } catch (error) {
      log.warn({ err: error }, 'cannot say on the Node which fabric is in place; trying again');
      return false;
    }
  }
}

/** A node forwards its pods' packets. */
function enableForwarding(clusterCidrs: readonly Cidr[]): void {
  writeSysctl('net/ipv4/ip_forward', '1');
  if (clusterCidrs.some((range) => familyOf(range) === 'IPv6')) writeSysctl('net/ipv6/conf/all/forwarding', '1');
}
