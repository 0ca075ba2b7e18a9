// Writes Services into IPVS as kube-proxy does: virtual servers, addresses of kube-ipvs0, sets, and a few rules.

import { defaultIpvsScheduler, type IpvsScheduler } from '../../k8s/network-config.ts';
import { parseAddress, RTM_DELADDR } from '../../linux/addresses.ts';
import type { Iptables } from '../../linux/iptables-run.ts';
import type { VirtualServerName } from '../../linux/ipvs.ts';
import { parseLink, RTM_DELLINK } from '../../linux/links.ts';
import type { Message } from '../../linux/netlink.ts';
import { monitorNetlink, routeGroup } from '../../linux/netlink-monitor.ts';
import { monitorNftables } from '../../linux/nft-monitor.ts';
import { type Cidr, type Family, familyOf } from '../../net/address.ts';
import type { ProxyNode, ServicePortModel } from '../service-port.ts';
import type { ProxyFacts, ServiceWriter } from '../writer.ts';
import { type Change, changes } from './changes.ts';
import { cleanUpIpvs, stopDraining } from './clean-up.ts';
import { type Item, itemsOf } from './items.ts';
import { IpvsKernel } from './kernel.ts';
import { ipvsChainNames, RuleKeeper } from './rule-keeper.ts';
import { dummyLink, kernelSetName, setNames } from './sets.ts';
import { setIpvsSysctls } from './sysctls.ts';
import { WantedItems } from './wanted.ts';

export interface IpvsOptions {
  readonly iptables: Iptables;
  readonly node: Pick<ProxyNode, 'addresses' | 'nodePortAddresses'>;
  /** The ranges of all pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
}

/** How often the kernel, which announces nothing of these, is asked whether somebody emptied them, in ms. */
const glanceMs = 2_000;

export class IpvsWriter implements ServiceWriter {
  readonly mode = 'ipvs';
  readonly iptablesChains = ipvsChainNames;
  readonly #options: IpvsOptions;
  readonly #families: readonly Family[];
  readonly #rules: readonly RuleKeeper[];
  readonly #kernel: IpvsKernel;
  readonly #wanted = new WantedItems();
  readonly #models = new Map<string, readonly ServicePortModel[]>();
  /** What is in the kernel; undefined where it must be read first. */
  #there: Map<string, Item> | undefined;
  /** What a look a moment ago has found there; with many Services a look takes most of a repair. */
  #seen: Map<string, Item> | undefined;
  /** Another link has given up an address that our link has to take. */
  #isLeft = false;
  #scheduler: IpvsScheduler = defaultIpvsScheduler;
  #isWriting = false;
  #glances = 0;

  /** Throws where the kernel has no IPVS. */
  constructor(options: IpvsOptions) {
    this.#options = options;
    const families = new Set<Family>([...options.node.addresses, ...options.clusterCidrs].map(familyOf));
    if (families.size === 0) families.add('IPv4');
    this.#families = [...families];
    this.#kernel = IpvsKernel.open(this.#families);
    this.#rules = this.#families.map((family) => new RuleKeeper(family, options.iptables));
    this.setFacts({ serviceCidrs: [], podCidrs: [] });
  }

  get size(): number {
    return this.#wanted.items.size;
  }

  set(owner: string, models: readonly ServicePortModel[]): void {
    const own = models.filter(({ family }) => this.#families.includes(family));
    if (own.length === 0) this.#models.delete(owner);
    else this.#models.set(owner, own);
    this.#setItems(owner, own);
  }

  #setItems(owner: string, models: readonly ServicePortModel[]): void {
    const options = { node: this.#options.node, scheduler: this.#scheduler };
    this.#wanted.set(
      owner,
      models.flatMap((model) => itemsOf(model, options)),
    );
  }

  setFacts(facts: ProxyFacts): void {
    for (const rules of this.#rules) rules.set({ ...facts, clusterCidrs: this.#options.clusterCidrs });
    const { ipvsScheduler = defaultIpvsScheduler } = facts;
    if (ipvsScheduler === this.#scheduler) return;
    this.#scheduler = ipvsScheduler;
    for (const [owner, models] of this.#models) this.#setItems(owner, models);
  }

  async apply(): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#write();
    } finally {
      this.#isWriting = false;
      this.#seen = undefined;
      for (const rules of this.#rules) rules.forget();
    }
  }

  async #write(): Promise<void> {
    const known = this.#there;
    // Until all is written nothing is known for sure.
    this.#there = undefined;
    if (known !== undefined) {
      await this.#writeRules();
      await this.#kernel.apply(changes(this.#wanted.takeTouched(), this.#wanted.items, known), known);
      this.#there = known;
      return;
    }
    stopDraining();
    setIpvsSysctls();
    this.#kernel.prepare();
    const there = this.#seen ?? (await this.#kernel.read());
    this.#wanted.takeTouched();
    const all = changes(new Set([...there.keys(), ...this.#wanted.items.keys()]), this.#wanted.items, there);
    // The rules drop what is sent to addresses that are in no set, and masquerade by the sets: so they come after those,
    // and before the addresses, at which the Services are reached from then on. Where they take the place of another
    // mode's, which serves until then, they come last.
    const addresses = all.findIndex((change) => change.do === 'add' && change.item.kind === 'address');
    const first = addresses < 0 || (await this.#isReplacing()) ? all.length : addresses;
    await this.#kernel.apply(all.slice(0, first), there);
    await this.#writeRules();
    await this.#kernel.apply(all.slice(first), there);
    this.#there = there;
  }

  async #isReplacing(): Promise<boolean> {
    for (const rules of this.#rules) if (await rules.isReplacing()) return true;
    return false;
  }

  async #writeRules(): Promise<void> {
    for (const rules of this.#rules) await rules.apply();
  }

  async audit(): Promise<string[]> {
    const damaged = new Set<string>();
    const areWhole = await Promise.all(this.#rules.map((rules) => rules.isWhole()));
    for (const [index, family] of this.#families.entries())
      if (areWhole[index] === false) damaged.add(`the rules of iptables for ${family}`);
    if (!this.#kernel.hasLink()) damaged.add(`the link ${dummyLink}`);
    if (this.#isLeft) damaged.add(`addresses of ${dummyLink}`);
    this.#isLeft = false;
    if (this.#there === undefined) damaged.add('what could not be written');
    else {
      const there = await this.#kernel.read();
      const keys = new Set([...there.keys(), ...this.#there.keys()]);
      for (const change of changes(keys, this.#there, there)) damaged.add(placeOf(change));
      if (damaged.size > 0) this.#seen = there;
    }
    if (damaged.size > 0) this.#there = undefined;
    return [...damaged];
  }

  watch(disturbed: () => void): () => void {
    const tables = new Set(
      this.#families.flatMap((family) =>
        ['filter', 'nat', 'mangle'].map((table) => `${family === 'IPv4' ? 'ip' : 'ip6'} ${table}`),
      ),
    );
    const endMonitor = monitorNftables((written) => {
      if (written === undefined || [...written].some((table) => tables.has(table))) disturbed();
    });
    const isWhole = (there: ReadonlyMap<string, Item>): boolean => this.#isWriting || this.#glance(there);
    const timer = setInterval(() => {
      if (this.#there !== undefined && !isWhole(this.#there)) disturbed();
    }, glanceMs);
    timer.unref();
    const { link, ipv4Address, ipv6Address } = routeGroup;
    const endLinks = monitorNetlink({ groups: [link, ipv4Address, ipv6Address] }, (event) => {
      if (event.type === 'overrun' || event.messages.some((message) => this.#isLoss(message))) disturbed();
    });
    return () => {
      endMonitor();
      endLinks();
      clearInterval(timer);
    };
  }

  /** Whether the kernel announces the end of our link, or of an address that we want there. */
  #isLoss(message: Message): boolean {
    if (message.type === RTM_DELLINK) return parseLink(message).name === dummyLink;
    const lost = message.type === RTM_DELADDR ? parseAddress(message) : undefined;
    const key = `address ${lost?.address}`;
    if (lost === undefined || !this.#wanted.items.has(key)) return false;
    if (lost.link === this.#kernel.link) return true;
    // Another link had it, so that ours has not (that of the node's DNS, for one).
    const isLeft = this.#there?.has(key) === false;
    this.#isLeft ||= isLeft;
    return isLeft;
  }

  #glance(there: ReadonlyMap<string, Item>): boolean {
    const counts = new Map<string, number>();
    for (const family of this.#families) for (const name of setNames) counts.set(kernelSetName(name, family), 0);
    const servers: VirtualServerName[] = [];
    for (const item of there.values()) {
      if (item.kind === 'server') servers.push(item.server);
      if (item.kind !== 'element') continue;
      const set = kernelSetName(item.set, item.family);
      counts.set(set, (counts.get(set) ?? 0) + 1);
    }
    return this.#kernel.isWhole(counts, servers[this.#glances++ % Math.max(servers.length, 1)]);
  }

  /** Real servers that get no new connections go when they have none any more. */
  async tidy(): Promise<boolean> {
    const there = this.#there;
    if (there === undefined) return false;
    const draining = [...there.values()].filter(
      (item) =>
        item.kind === 'server' && item.server.protocol !== 'udp' && item.reals.some(({ weight }) => weight === 0),
    );
    this.#isWriting = true;
    try {
      for (const item of draining)
        if (item.kind === 'server') await this.#kernel.apply(this.#kernel.drained(item.server), there);
    } finally {
      this.#isWriting = false;
    }
    return draining.length > 0;
  }

  async cleanUp(kept: ReadonlySet<string> = new Set()): Promise<void> {
    this.#there = undefined;
    await cleanUpIpvs(kept);
  }

  close(): void {
    this.#kernel.close();
  }
}

/** Where a change is to be made, in the words of those who look for it. */
function placeOf(change: Change): string {
  if (change.do === 'add' || change.do === 'delete')
    return change.item.kind === 'address'
      ? `addresses of ${dummyLink}`
      : `set ${kernelSetName(change.item.set, change.item.family)}`;
  return 'virtual servers';
}
