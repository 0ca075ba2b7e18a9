// What a pod asks for and what a node has: cpu in thousandths, everything else in whole units.
import { asQuantity, parseQuantity, toMilli, toWhole } from '../k8s/quantity.ts';
import type { Container, Node, Pod } from '../k8s/types.generated.ts';

/** Amounts by resource name; cpu in thousandths of a core, memory and ephemeral-storage in bytes. */
export type Amounts = Readonly<Record<string, number>>;

type Quantities = Readonly<Record<string, string | number>> | undefined;

function amountsOf(quantities: Quantities): Amounts {
  return Object.fromEntries(
    Object.entries(quantities ?? {})
      .filter(([, text]) => parseQuantity(String(text)) !== undefined)
      .map(([name, text]) => [name, name === 'cpu' ? toMilli(asQuantity(text)) : toWhole(asQuantity(text))]),
  );
}

export function add(a: Amounts, b: Amounts): Amounts {
  const sum: Record<string, number> = { ...a };
  for (const [name, amount] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + amount;
  return sum;
}

export function subtract(a: Amounts, b: Amounts): Amounts {
  return add(a, Object.fromEntries(Object.entries(b).map(([name, amount]) => [name, -amount])));
}

function larger(a: Amounts, b: Amounts): Amounts {
  const result: Record<string, number> = { ...a };
  for (const [name, amount] of Object.entries(b)) result[name] = Math.max(result[name] ?? 0, amount);
  return result;
}

/** What a container that asks for nothing is taken to use when nodes are compared (upstream's non-zero defaults). */
const presumed: Amounts = { cpu: 100, memory: 200 * 1024 * 1024 };

const requestsOf = (container: Container): Amounts => amountsOf(container.resources?.requests);
const presumedOf = (container: Container): Amounts => ({ ...presumed, ...requestsOf(container) });

/** The pod's effective request: containers and sidecars together, or its largest init step, and its overhead. */
export function podRequests(pod: Pod, of: (container: Container) => Amounts = requestsOf): Amounts {
  const { containers = [], initContainers = [], overhead, resources } = pod.spec ?? {};
  let sidecars: Amounts = {};
  let largestStep: Amounts = {};
  for (const container of initContainers) {
    const asked = of(container);
    if (container.restartPolicy === 'Always') sidecars = add(sidecars, asked);
    largestStep = larger(largestStep, container.restartPolicy === 'Always' ? sidecars : add(sidecars, asked));
  }
  const together = containers.map(of).reduce(add, sidecars);
  const whole = { ...larger(together, largestStep), ...amountsOf(resources?.requests) };
  return add(whole, amountsOf(overhead));
}

/** As {@link podRequests}, with cpu and memory presumed for containers that ask for none. */
export const presumedRequests = (pod: Pod): Amounts => podRequests(pod, presumedOf);

export function allocatableOf(node: Node): Amounts {
  return amountsOf(node.status?.allocatable ?? node.status?.capacity);
}
