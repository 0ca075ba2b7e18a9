// The families of a Service: which it asks for, which the cluster has, and those that are filled in. Pure.
// The rules are those of kubernetes pkg/registry/core/service/storage/alloc.go, initIPFamilyFields.
import type { ServiceSpec } from '../../k8s/types.generated.ts';
import { type Family, familyOf, parseIp } from '../../net/address.ts';
import type { FieldError } from '../schema/errors.ts';
import { Report } from '../schema/validate/report.ts';
import { validateClusterIps } from '../schema/validate/service.ts';

export const isHeadless = (spec: ServiceSpec): boolean => (spec.clusterIPs?.[0] ?? spec.clusterIP) === 'None';

/** Endpoints of any family may be written for it by hand, so both are allowed on every cluster. */
const isKeptByHand = (spec: ServiceSpec): boolean => isHeadless(spec) && Object.keys(spec.selector ?? {}).length === 0;

/**
 * Fills in `ipFamilyPolicy` and `ipFamilies`; of a Service that becomes single-stack, what it has of a second family is
 * taken away where the user left it as it was. Returns what is wrong, and then the spec is of no use.
 * @param configured the families of the cluster, the main one first.
 */
export function fillFamilies(
  spec: ServiceSpec,
  old: ServiceSpec | undefined,
  configured: readonly Family[],
): readonly FieldError[] {
  spec.ipFamilyPolicy ||= old?.ipFamilyPolicy ?? (isKeptByHand(spec) ? 'RequireDualStack' : 'SingleStack');
  const report = new Report();
  validateClusterIps(report, { ...spec });
  if (report.errors.length > 0) return report.errors;
  if (old !== undefined) trimSecond(spec, old);
  if (spec.ipFamilyPolicy === 'SingleStack') refuseTwo(report, spec);
  const families: Family[] = (spec.ipFamilies ?? []).filter((family) => family === 'IPv4' || family === 'IPv6');
  for (const [index, text] of (spec.clusterIPs ?? []).entries()) {
    const ip = parseIp(text);
    if (ip === undefined || families[index] !== undefined) continue;
    if (configured.includes(familyOf(ip))) families.push(familyOf(ip));
    else report.invalid(`spec.clusterIPs[${index}]`, text, `${familyOf(ip)} is not configured on this cluster`);
  }
  if (!isKeptByHand(spec)) refuseMissing(report, spec, families, configured);
  if (report.errors.length > 0) return report.errors;
  const [main = 'IPv4'] = configured;
  if (families.length === 0) families.push(main);
  const wantsTwo = spec.ipFamilyPolicy !== 'SingleStack' && (configured.length > 1 || isKeptByHand(spec));
  if (wantsTwo && families.length === 1) families.push(families[0] === 'IPv4' ? 'IPv6' : 'IPv4');
  spec.ipFamilies = families;
  return [];
}

/** A user who writes SingleStack alone need not name what goes away. */
function trimSecond(spec: ServiceSpec, old: ServiceSpec): void {
  if (spec.ipFamilyPolicy !== 'SingleStack' || old.ipFamilyPolicy === 'SingleStack') return;
  if (same(spec.clusterIPs, old.clusterIPs)) spec.clusterIPs?.splice(1);
  if (same(spec.ipFamilies, old.ipFamilies)) spec.ipFamilies?.splice(1);
}

function refuseTwo(report: Report, spec: ServiceSpec): void {
  for (const field of ['clusterIPs', 'ipFamilies'] as const)
    if ((spec[field]?.length ?? 0) > 1)
      report.invalid(
        'spec.ipFamilyPolicy',
        spec.ipFamilyPolicy,
        `must be RequireDualStack or PreferDualStack when multiple ${field} are specified`,
      );
}

function refuseMissing(
  report: Report,
  spec: ServiceSpec,
  families: readonly Family[],
  configured: readonly Family[],
): void {
  if (spec.ipFamilyPolicy === 'RequireDualStack' && configured.length < 2)
    report.invalid(
      'spec.ipFamilyPolicy',
      spec.ipFamilyPolicy,
      'this cluster is not configured for dual-stack services',
    );
  for (const [index, family] of families.entries())
    if (!configured.includes(family))
      report.invalid(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster');
}

const same = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  (a ?? []).join() === (b ?? []).join();
