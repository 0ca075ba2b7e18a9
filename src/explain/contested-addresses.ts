// Who has the addresses that several Services claim, decided as the proxy decides it, over all Services of the cluster. Pure.
import type { Service } from '../k8s/types.generated.ts';
import { type Claim, Claims } from '../proxy/claims.ts';
import { serviceModel } from '../proxy/service-model.ts';
import { type ProxyNode, type ServicePortModel, serviceAddresses, serviceAddressKey } from '../proxy/service-port.ts';

export interface Contest {
  /** The models without the addresses that another Service has. */
  readonly granted: readonly ServicePortModel[];
  /** By address and port ({@link serviceAddressKey}): the other Service that has it. */
  readonly lost: ReadonlyMap<string, Claim>;
}

/** What a Service with these models gets beside all others. `owner` is its `namespace/name`. */
export function contestOf(
  owner: string,
  models: readonly ServicePortModel[],
  all: readonly Service[],
  node: ProxyNode,
  options: { readonly externalIps: boolean },
): Contest {
  const known = new Map<string, readonly ServicePortModel[]>([[owner, models]]);
  const claims = new Claims(
    () => node,
    (other) => known.get(other) ?? [],
  );
  for (const service of all) {
    const other = `${service.metadata.namespace}/${service.metadata.name}`;
    if (other === owner) continue;
    // Which addresses a Service claims does not depend on its endpoints.
    const others = serviceModel(service, [], node, options);
    known.set(other, others);
    claims.set(other, others);
  }
  const granted = claims.set(owner, models).get(owner) ?? [];
  const lost = models.flatMap((model) =>
    serviceAddresses(model, node).flatMap((at): [string, Claim][] => {
      const key = serviceAddressKey(at);
      const holder = claims.holderOf(key);
      return holder === undefined || holder.owner === owner ? [] : [[key, holder]];
    }),
  );
  return { granted, lost: new Map(lost) };
}
