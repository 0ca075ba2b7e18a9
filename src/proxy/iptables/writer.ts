// Writes Services into iptables as kube-proxy does: a chain for each port of a Service and for each endpoint.
import { readFileSync } from 'node:fs';
import type { Iptables } from '../../linux/iptables-run.ts';
import { monitorNftables } from '../../linux/nft-monitor.ts';
import { type Cidr, type Family, familyOf, type Ip } from '../../net/address.ts';
import { isLoopback } from '../node-port-addresses.ts';
import { type ProxyNode, type ServicePortModel, servicePortName } from '../service-port.ts';
import type { ServiceWriter } from '../writer.ts';
import { canaryChain, filterChains, natChains } from './chain-names.ts';
import { cleanUpIptables, sharedChains } from './clean-up.ts';
import { restore } from './parts.ts';
import { RuleTables } from './rule-tables.ts';
import { type ServiceRules, serviceRules } from './service-rules.ts';

export interface IptablesOptions {
  readonly iptables: Iptables;
  readonly node: Pick<ProxyNode, 'addresses'>;
  /** The ranges of all pods, one of a family: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
  /** Where NodePorts are open; `all` is at every address of the node, 127.0.0.1 among them, as with kube-proxy. */
  readonly nodePortAddresses: 'all' | readonly Ip[];
}

/** With more endpoints than this the rules say no more which endpoint they lead to, as with kube-proxy. */
const largeCluster = 1000;
/** Between two looks at what others have done, in ms. */
const pauseMs = 1_000;
/** How often ip_tables, which announces nothing, is asked whether our rules are there, in ms. */
const pollMs = 2_000;

class FamilyRules {
  readonly family: Family;
  readonly tables: RuleTables;
  readonly podRange: Cidr | undefined;
  isWritten = false;
  isTerse = false;
  endpoints = 0;

  constructor(family: Family, options: IptablesOptions) {
    this.family = family;
    const [range, ...others] = options.clusterCidrs.filter((one) => familyOf(one) === family);
    if (others.length > 0)
      throw new Error(`iptables mode: ${range} and ${others.join(', ')}: there can be one range of pods of a family`);
    this.podRange = range;
    this.tables = new RuleTables({
      family,
      nodePortAddresses:
        options.nodePortAddresses === 'all'
          ? 'all'
          : options.nodePortAddresses.filter((address) => familyOf(address) === family),
      localhostNodePorts: options.nodePortAddresses === 'all' || options.nodePortAddresses.some(isLoopback),
      tcpBeLiberal: isTcpLiberal(),
    });
  }

  rules(model: ServicePortModel, nodeAddresses: readonly Ip[]): ServiceRules {
    const { podRange, isTerse: terse } = this;
    return serviceRules(model, { ...(podRange !== undefined && { podRange }), nodeAddresses, terse });
  }
}

const portKey = ({ name, protocol }: ServicePortModel): string => `${servicePortName(name)} ${protocol}`;

export class IptablesWriter implements ServiceWriter {
  readonly mode = 'iptables';
  readonly #options: IptablesOptions;
  readonly #families: readonly FamilyRules[];
  readonly #models = new Map<string, readonly ServicePortModel[]>();

  constructor(options: IptablesOptions) {
    this.#options = options;
    const families = new Set<Family>([...options.node.addresses, ...options.clusterCidrs].map(familyOf));
    if (families.size === 0) families.add('IPv4');
    this.#families = [...families].map((family) => new FamilyRules(family, options));
  }

  /** Those of all Services; none of a single Service is another mode's too. */
  get iptablesChains(): ReadonlySet<string> {
    return sharedChains;
  }

  get size(): number {
    return this.#families.reduce((sum, { tables }) => sum + tables.size, 0);
  }

  set(owner: string, models: readonly ServicePortModel[]): void {
    const before = this.#models.get(owner) ?? [];
    if (models.length === 0) this.#models.delete(owner);
    else this.#models.set(owner, models);
    for (const of of this.#families) {
      const own = models.filter(({ family }) => family === of.family);
      const had = before.filter(({ family }) => family === of.family);
      of.endpoints += endpointCount(own) - endpointCount(had);
      // Not back as soon: a number that goes up and down about the limit would make all rules anew each time.
      if (of.endpoints > largeCluster) this.#setTerse(of);
      const now = new Set(own.map(portKey));
      for (const model of had) if (!now.has(portKey(model))) of.tables.set(portKey(model), undefined);
      for (const model of own) of.tables.set(portKey(model), of.rules(model, this.#options.node.addresses));
    }
  }

  /** Ranges of Services and of a node's own pods are in no rule of kube-proxy's. */
  setFacts(): void {}

  async apply(): Promise<void> {
    for (const of of this.#families) {
      this.#setTerse(of);
      const saved = of.isWritten ? undefined : await this.#options.iptables.save(of.family);
      const { changes, written } = of.tables.plan(saved);
      of.isWritten = false;
      await restore(this.#options.iptables, of.family, changes);
      of.isWritten = true;
      written();
    }
  }

  #setTerse(of: FamilyRules): void {
    const isTerse = of.endpoints > largeCluster;
    if (of.isTerse === isTerse) return;
    of.isTerse = isTerse;
    for (const models of this.#models.values())
      for (const model of models)
        if (model.family === of.family) of.tables.set(portKey(model), of.rules(model, this.#options.node.addresses));
  }

  async audit(): Promise<string[]> {
    const damaged: string[] = [];
    for (const of of this.#families) {
      const found = of.isWritten
        ? of.tables.damages(await this.#options.iptables.save(of.family))
        : ['what could not be written'];
      if (found.length === 0) continue;
      of.isWritten = false;
      const [first = '', ...others] = found;
      damaged.push(`${of.family} ${first}${others.length === 0 ? '' : ` and ${others.length} more`}`);
    }
    return damaged;
  }

  watch(disturbed: () => void): () => void {
    if (this.#options.iptables.backend === 'legacy') return this.#poll(disturbed);
    const ours = new Set(
      this.#families.flatMap(({ family }) =>
        ['filter', 'nat', 'mangle'].map((table) => `${family === 'IPv4' ? 'ip' : 'ip6'} ${table}`),
      ),
    );
    // A look reads all rules, and others may write to these tables often: the first write is told of at once.
    let timer: NodeJS.Timeout | undefined;
    let last = Number.NEGATIVE_INFINITY;
    const tell = (): void => {
      timer = undefined;
      last = performance.now();
      disturbed();
    };
    const end = monitorNftables((written) => {
      if (written !== undefined && ![...written].some((table) => ours.has(table))) return;
      timer ??= setTimeout(tell, Math.max(0, last + pauseMs - performance.now()));
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }

  #poll(disturbed: () => void): () => void {
    let isAsking = false;
    const look = async (): Promise<void> => {
      if (isAsking) return;
      isAsking = true;
      const isThere = await this.#isThere().catch(() => false);
      isAsking = false;
      if (!isThere) disturbed();
    };
    const timer = setInterval(() => void look(), pollMs);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** Whether one chain of each table is as it was left: a table is flushed, or emptied of its chains, as a whole. */
  async #isThere(): Promise<boolean> {
    const { iptables } = this.#options;
    for (const { family, isWritten } of this.#families) {
      if (!isWritten) continue;
      const [nat, filter, mangle] = await Promise.all([
        iptables.list(family, 'nat', natChains.postrouting),
        iptables.list(family, 'filter', filterChains.forward),
        iptables.list(family, 'mangle', canaryChain),
      ]);
      if (!nat?.length || !filter?.length || mangle === undefined) return false;
    }
    return true;
  }

  async tidy(): Promise<boolean> {
    return false;
  }

  async cleanUp(kept: ReadonlySet<string> = new Set()): Promise<void> {
    for (const of of this.#families) of.isWritten = false;
    await cleanUpIptables(kept);
  }
}

const endpointCount = (models: readonly ServicePortModel[]): number =>
  models.reduce((sum, { allEndpoints }) => sum + allEndpoints.length, 0);

function isTcpLiberal(): boolean {
  try {
    return readFileSync('/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}
