// The addresses of load balancers and the external ones that Services have, and whether they changed.
import type { Ip } from '../net/address.ts';
import type { ServicePortModel } from './service-port.ts';

export class ExternalAddresses {
  readonly #byOwner = new Map<string, readonly Ip[]>();
  #isChanged = false;

  set(owner: string, models: readonly ServicePortModel[]): void {
    const now = [
      ...new Set(models.flatMap(({ loadBalancerIps, externalIps }) => [...loadBalancerIps, ...externalIps])),
    ];
    const before = this.#byOwner.get(owner) ?? [];
    if (now.join() === before.join()) return;
    this.#isChanged = true;
    if (now.length === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, now);
  }

  /** All addresses, where they changed since the last call. */
  takeChange(): Ip[] | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    return [...new Set([...this.#byOwner.values()].flat())];
  }
}
