// What every way of writing Services into the kernel offers: nftables, iptables, IPVS.
import type { IpvsScheduler, ProxyMode } from '../k8s/network-config.ts';
import type { Cidr } from '../net/address.ts';
import type { ServicePortModel } from './service-port.ts';

export type { ProxyMode };

/** Which facts of the node and the cluster, besides Services, the rules depend on. */
export interface ProxyFacts {
  /** The ranges that the cluster addresses of Services come from. */
  readonly serviceCidrs: readonly Cidr[];
  /** The ranges of the pods of this node; none where the Node object does not say. */
  readonly podCidrs: readonly Cidr[];
  /** In the mode ipvs: how virtual servers choose, unless their Service says otherwise; rr where absent. */
  readonly ipvsScheduler?: IpvsScheduler;
}

/**
 * Remembers what shall be in the kernel and writes the differences. Only one of `apply`, `audit`, `tidy`, `cleanUp` runs
 * at a time: the ServiceSync that owns the writer batches, retries, repairs, and reports.
 */
export interface ServiceWriter {
  readonly mode: ProxyMode;
  /** How much it wants in the kernel (elements, rules), for the log. */
  readonly size: number;
  /** Replaces what a Service is (`owner` is `namespace/name`); none at all takes it away. Writes nothing. */
  set(owner: string, models: readonly ServicePortModel[]): void;
  /** Replaces the facts; never called where they are as before. Writes nothing. */
  setFacts(facts: ProxyFacts): void;
  /** Writes what changed since the last time; everything at first, and after an error. Reads nothing from the kernel. */
  apply(): Promise<void>;
  /**
   * Looks whether someone else changed what was written. The names of what was damaged (`table ip weft-proxy`): the next
   * `apply` writes it anew.
   */
  audit(): Promise<string[]>;
  /** Tells when someone else may have changed what was written; `audit` then finds out. Returns the end of it. */
  watch(disturbed: () => void): () => void;
  /** Deletes what nobody refers to any more, some time after the changes. False where there was nothing to do. */
  tidy(): Promise<boolean>;
  /**
   * Takes everything that this mode ever wrote out of the kernel, also what an earlier process left; but for the chains of
   * iptables that another mode has made its own by now.
   */
  cleanUp(kept?: ReadonlySet<string>): Promise<void>;
  /** The chains of iptables that this mode writes, where it does: `nat KUBE-SERVICES`. */
  readonly iptablesChains?: ReadonlySet<string>;
  /** Gives back what the writer holds open, when it is not used any more. What is written stays. */
  close?(): void;
}
