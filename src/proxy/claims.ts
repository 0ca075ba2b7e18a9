// Decides which Service has an address and port that several claim, so that every writer holds it once. Pure.
import {
  type AddressKind,
  type ProxyNode,
  type ServiceAddress,
  type ServicePortModel,
  serviceAddresses,
  serviceAddressKey,
} from './service-port.ts';

/** A cluster address is nobody else's; what anybody may write into a Service by hand comes last. */
const rank: Readonly<Record<AddressKind, number>> = { ClusterIP: 0, NodePort: 1, LoadBalancer: 2, ExternalIP: 3 };

/** That a Service (`namespace/name`) wants an address and port, and as what. */
export interface Claim {
  readonly owner: string;
  readonly kind: AddressKind;
}

const precedes = (a: Claim, b: Claim): boolean =>
  rank[a.kind] < rank[b.kind] || (rank[a.kind] === rank[b.kind] && a.owner < b.owner);

/**
 * The models of all Services, without the addresses that another Service has. Of several that claim an address with a
 * port, one has it by the kind of its claim (cluster address, node port, load balancer, external IP), then by its name.
 */
export class Claims {
  readonly #node: () => Pick<ProxyNode, 'nodePortAddresses'>;
  readonly #modelsOf: (owner: string) => readonly ServicePortModel[];
  /** Who has an address; all claims of it where there are several. */
  readonly #claims = new Map<string, Claim | readonly Claim[]>();
  /** The claims that an owner made, as they were made. */
  readonly #made = new Map<string, ReadonlyMap<string, AddressKind>>();

  /** `modelsOf` decides again what a Service is: all models of all Services would be most of the proxy's memory. */
  constructor(
    node: () => Pick<ProxyNode, 'nodePortAddresses'>,
    modelsOf: (owner: string) => readonly ServicePortModel[],
  ) {
    this.#node = node;
    this.#modelsOf = modelsOf;
  }

  /** Replaces what a Service is; returns the Services whose models are now others (itself always), with these. */
  set(owner: string, models: readonly ServicePortModel[]): Map<string, readonly ServicePortModel[]> {
    const before = this.#made.get(owner) ?? new Map<string, AddressKind>();
    const now = claimsOf(models, this.#node());
    const contested = new Set<string>();
    for (const [key, kind] of before) if (now.get(key) !== kind) this.#release(owner, key, contested);
    for (const [key, kind] of now) if (before.get(key) !== kind) this.#claim({ owner, kind }, key, contested);
    if (models.length === 0) this.#made.delete(owner);
    else this.#made.set(owner, now);
    const others = [...contested].filter((other) => other !== owner);
    return new Map([
      [owner, this.#granted(owner, models)],
      ...others.map((other) => [other, this.#granted(other, this.#modelsOf(other))] as const),
    ]);
  }

  /** Who has the address and port ({@link serviceAddressKey}), of all that claim it. */
  holderOf(key: string): Claim | undefined {
    const claims = [this.#claims.get(key) ?? []].flat();
    return claims.find((claim) => !claims.some((other) => precedes(other, claim)));
  }

  #claim(claim: Claim, key: string, contested: Set<string>): void {
    const there = this.#claims.get(key);
    if (there === undefined) return void this.#claims.set(key, claim);
    const others = [there].flat();
    for (const { owner } of others) contested.add(owner);
    this.#claims.set(key, [...others, claim]);
  }

  #release(owner: string, key: string, contested: Set<string>): void {
    const left = [this.#claims.get(key) ?? []].flat().filter((claim) => claim.owner !== owner);
    for (const { owner } of left) contested.add(owner);
    if (left.length === 0) this.#claims.delete(key);
    else this.#claims.set(key, left.length === 1 && left[0] !== undefined ? left[0] : left);
  }

  /** The models of a Service without the addresses that it does not get. */
  #granted(owner: string, models: readonly ServicePortModel[]): readonly ServicePortModel[] {
    const lost = new Set<string>();
    for (const [key, kind] of this.#made.get(owner) ?? []) {
      const claims = this.#claims.get(key);
      if (claims !== undefined && !('owner' in claims) && claims.some((other) => precedes(other, { owner, kind })))
        lost.add(key);
    }
    return lost.size === 0 ? models : models.flatMap((model) => without(model, lost, this.#node()) ?? []);
  }
}

/** By address: as what the Service claims it; the strongest claim where it does so twice. */
function claimsOf(
  models: readonly ServicePortModel[],
  node: Pick<ProxyNode, 'nodePortAddresses'>,
): Map<string, AddressKind> {
  const claims = new Map<string, AddressKind>();
  for (const model of models)
    for (const at of serviceAddresses(model, node)) {
      const key = serviceAddressKey(at);
      const known = claims.get(key);
      if (known === undefined || rank[at.kind] < rank[known]) claims.set(key, at.kind);
    }
  return claims;
}

/** Undefined where the cluster address itself is lost: then nothing of the port can be told from the other Service's. */
function without(
  model: ServicePortModel,
  lost: ReadonlySet<string>,
  node: Pick<ProxyNode, 'nodePortAddresses'>,
): ServicePortModel | undefined {
  const kept = serviceAddresses(model, node).filter((at) => !lost.has(serviceAddressKey(at)));
  const of = (kind: AddressKind): ServiceAddress[] => kept.filter((at) => at.kind === kind);
  if (of('ClusterIP').length === 0) return undefined;
  const { nodePort, ...rest } = model;
  return {
    ...rest,
    ...(nodePort !== undefined && of('NodePort').length > 0 && { nodePort }),
    loadBalancerIps: of('LoadBalancer').map(({ address }) => address),
    externalIps: of('ExternalIP').map(({ address }) => address),
  };
}
