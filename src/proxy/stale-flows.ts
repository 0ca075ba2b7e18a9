// Decides which UDP flows must be forgotten after a change of a Service. Pure.
// UDP has no end: conntrack would send a client's packets to a pod that is gone for as long as the client goes on.
import type { FlowFilter } from '../linux/conntrack.ts';
import {
  backendKey,
  type ProxyNode,
  type ServiceAddress,
  type ServicePortModel,
  serviceAddresses,
  serviceAddressKey,
} from './service-port.ts';

interface Known {
  readonly at: ServiceAddress;
  readonly model: ServicePortModel;
}

/** The flows that the change of one Service from `before` to `after` made stale. */
export function staleFlows(
  before: readonly ServicePortModel[],
  after: readonly ServicePortModel[],
  node: Pick<ProxyNode, 'nodePortAddresses'>,
): FlowFilter[] {
  const had = udpAddresses(before, node);
  const has = udpAddresses(after, node);
  const gone = [...had].flatMap(([key, { at, model }]): FlowFilter[] => {
    const successor = has.get(key)?.model;
    if (successor === undefined) return [flowsTo(at)];
    const serving = new Set(successor.servingEndpoints.map(backendKey));
    const stopped = model.servingEndpoints.filter((backend) => !serving.has(backendKey(backend)));
    return [...new Set(stopped.map(({ ip }) => ip))].map((ip) => ({ ...flowsTo(at), replySource: ip }));
  });
  // Flows from before the address was there were not translated: their answers would come from the address itself.
  const untranslated = [...has]
    .filter(([key]) => !had.has(key))
    .map(([, { at }]): FlowFilter => ({ ...flowsTo(at), replySource: at.address }));
  return [...gone, ...untranslated];
}

function udpAddresses(
  models: readonly ServicePortModel[],
  node: Pick<ProxyNode, 'nodePortAddresses'>,
): Map<string, Known> {
  const known = new Map<string, Known>();
  for (const model of models)
    if (model.protocol === 'UDP')
      for (const at of serviceAddresses(model, node)) known.set(serviceAddressKey(at), { at, model });
  return known;
}

const flowsTo = ({ address, port }: ServiceAddress): FlowFilter => ({ protocol: 'udp', destination: address, port });
