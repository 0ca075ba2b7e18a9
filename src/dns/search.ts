// Search completion: what a resolver with the usual search list of a pod would ask next, decided here in its place. Pure.
import type { Name } from './records.ts';

/**
 * The names that a client in the namespace asks after this one did not exist, in its order; undefined where the name is
 * none of a search list: then it was meant as it is. Only what has a dot in itself is completed. A single label is the
 * name of a Service, and outside there is none of it.
 */
export function laterNames(name: Name, namespace: string, zone: Name): { inside: Name[]; outside: Name } | undefined {
  const first = `.${namespace}.svc.${zone}`;
  if (!name.endsWith(first)) return undefined;
  const meant = name.slice(0, -first.length);
  if (!/^[^.]+\.[^.]/.test(meant)) return undefined;
  return { inside: [`${meant}.svc.${zone}`, `${meant}.${zone}`], outside: meant };
}
