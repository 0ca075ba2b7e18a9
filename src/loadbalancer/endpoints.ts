// On which nodes a Service answers, as far as announcing its addresses is concerned. Pure.
import type { EndpointSlice, Service } from '../k8s/types.generated.ts';
import type { Family } from '../net/address.ts';

/** The nodes with endpoints of a family: those that are ready; where none is, those that still serve while they end. */
export function nodesWithEndpoints(slices: readonly EndpointSlice[], family: Family): Set<string> {
  const ready = new Set<string>();
  const ending = new Set<string>();
  for (const slice of slices) {
    if (slice.addressType !== family) continue;
    for (const { nodeName = '', conditions = {} } of slice.endpoints ?? []) {
      const isReady = conditions.ready ?? true;
      if (isReady) ready.add(nodeName);
      else if (conditions.serving === true && conditions.terminating === true) ending.add(nodeName);
    }
  }
  return ready.size > 0 ? ready : ending;
}

/** Whether a node hands packets to its own endpoints alone. */
export function isLocal({ spec }: Service): boolean {
  return spec?.externalTrafficPolicy === 'Local';
}
