// Requests and limits of containers.
import { parseQuantity } from '../../../k8s/quantity.ts';
import type { Fields } from '../node.ts';
import { qualifiedName } from './names.ts';
import { at, type Report } from './report.ts';

const standard = new Set(['cpu', 'memory', 'ephemeral-storage']);
const integers = /^hugepages-|\//;

export function validateResources(report: Report, path: string, resources: Fields): void {
  const limits = at(resources, 'limits');
  const requests = at(resources, 'requests');
  for (const [side, amounts] of [
    ['limits', limits],
    ['requests', requests],
  ] as const) {
    for (const [name, amount] of Object.entries(amounts)) {
      const place = `${path}.${side}`;
      validateResourceName(report, place, name);
      const value = parseQuantity(String(amount));
      if (value === undefined)
        report.invalid(
          `${place}[${name}]`,
          amount,
          "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
      else if (value < 0n) report.invalid(`${place}[${name}]`, amount, 'must be greater than or equal to 0');
      else if (integers.test(name) && value % 1_000_000_000n !== 0n)
        report.invalid(`${place}[${name}]`, amount, 'must be an integer');
    }
  }
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    if (limit === undefined) {
      if (name.includes('/')) report.required(`${path}.limits`, 'Limit must be set for non overcommitable resources');
      continue;
    }
    const [wanted, most] = [parseQuantity(String(request)), parseQuantity(String(limit))];
    if (wanted === undefined || most === undefined) continue;
    if (name.includes('/') && wanted !== most)
      report.invalid(`${path}.requests`, request, `must be equal to ${name} limit of ${limit}`);
    else if (wanted > most)
      report.invalid(`${path}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`);
  }
}

/** Standard ones are plain names; all others have a domain before them. */
function validateResourceName(report: Report, path: string, name: string): void {
  report.allInvalid(path, name, qualifiedName(name));
  if (name.includes('/') || standard.has(name) || name.startsWith('hugepages-')) return;
  report.invalid(path, name, 'must be a standard resource type or fully qualified');
  report.invalid(path, name, 'must be a standard resource for containers');
}
