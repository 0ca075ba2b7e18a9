// Lists of custom resources whose items must differ: x-kubernetes-list-type set and map.
import { type Fields, isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import type { Report } from './report.ts';

export function validateListType(report: Report, path: string, list: readonly unknown[], schema: Fields): void {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return;
  const names = schema['x-kubernetes-list-map-keys'];
  const keys = Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  const keyOf = (item: unknown): unknown =>
    type === 'set' || !isFields(item) ? item : Object.fromEntries(keys.map((key) => [key, item[key] ?? null]));
  const seen = new Map<string, unknown>();
  list.forEach((item, index) => {
    const key = keyOf(item);
    const text = JSON.stringify(key);
    // The same text is the same value; items of sets with their fields in another order are found the slow way.
    const twice =
      seen.has(text) || (isFields(key) && type === 'set' && [...seen.values()].some((other) => sameValue(other, key)));
    if (twice) report.duplicate(`${path}[${index}]`, key);
    seen.set(text, key);
  });
}
