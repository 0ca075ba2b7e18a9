// Decides which UDP flows must be forgotten after a change of frontends. Pure.
// UDP has no end: conntrack would send a client's packets to a pod that is gone for as long as the client goes on.
import type { FlowFilter } from '../linux/conntrack.ts';
import { type Backend, backendKey, type Frontend, frontendKey } from './frontend.ts';

const backendsOf = (frontend: Frontend): Backend[] =>
  [frontend.choice, frontend.outside].flatMap((choice) => (choice?.to === 'backends' ? choice.backends : []));

/** The flows that the change from `before` to `after` made stale. */
export function staleFlows(before: readonly Frontend[], after: readonly Frontend[]): FlowFilter[] {
  const now = new Map(after.filter(isUdp).map((frontend) => [frontendKey(frontend), frontend]));
  const had = new Set(before.filter(isUdp).map(frontendKey));
  const gone = before.filter(isUdp).flatMap((frontend): FlowFilter[] => {
    const successor = now.get(frontendKey(frontend));
    if (successor === undefined) return [flowsTo(frontend)];
    const serving = new Set([...backendsOf(successor), ...successor.draining].map(backendKey));
    const stopped = backendsOf(frontend).filter((backend) => !serving.has(backendKey(backend)));
    return [...new Set(stopped.map(({ ip }) => ip))].map((ip) => ({ ...flowsTo(frontend), replySource: ip }));
  });
  // Flows from before the Service was there were not translated: their answers would come from the address itself.
  const untranslated = [...now]
    .filter(([key]) => !had.has(key))
    .map(([, frontend]): FlowFilter => ({ ...flowsTo(frontend), replySource: frontend.address }));
  return [...gone, ...untranslated];
}

const isUdp = (frontend: Frontend): boolean => frontend.protocol === 'UDP';

const flowsTo = (frontend: Frontend): FlowFilter => ({
  protocol: 'udp',
  destination: frontend.address,
  port: frontend.port,
});
