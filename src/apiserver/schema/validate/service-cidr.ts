// ServiceCIDRs and IPAddresses (upstream pkg/apis/networking/validation/validation.go; KEP-1880).
import { familyOf, parseCidr } from '../../../net/address.ts';
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { cidrText, dnsSubdomain, pathSegment } from './names.ts';
import { at, immutable, type Report, text, texts } from './report.ts';

const place = 'spec.cidrs';

export function validateServiceCidr(report: Report, object: Fields): void {
  const cidrs = texts(at(object, 'spec'), 'cidrs');
  if (cidrs.length === 0) {
    report.required(place, 'at least one CIDR required');
    return;
  }
  if (cidrs.length > 2) {
    report.invalid(place, cidrs, 'may only hold up to 2 values');
    return;
  }
  const parsed = cidrs.map(parseCidr);
  for (const [index, cidr] of cidrs.entries()) {
    const canonical = parsed[index];
    if (canonical === undefined) report.allInvalid(`${place}[${index}]`, cidr, cidrText(cidr));
    else if (canonical !== cidr)
      report.invalid(`${place}[${index}]`, cidr, `must be in canonical form (${JSON.stringify(canonical)})`);
  }
  const [first, second] = parsed;
  if (first !== undefined && second !== undefined && familyOf(first) === familyOf(second))
    report.invalid(
      place,
      cidrs,
      'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
    );
}

/** What is there stays; only a range of the second family may be added. */
export function validateServiceCidrUpdate(report: Report, object: Fields, old: Fields): void {
  const [now, before] = [object, old].map((one) => texts(at(one, 'spec'), 'cidrs'));
  if (now === undefined || before === undefined) return;
  if (now.length === before.length) {
    for (const [index, cidr] of now.entries())
      if (cidr !== before[index]) report.invalid(`${place}[${index}]`, cidr, immutable);
  } else if (before.length === 1 && now.length === 2) {
    if (now[0] !== before[0]) report.invalid(`${place}[0]`, now[0], 'primary CIDR can not be changed');
  } else report.invalid(place, now, immutable);
}

export function validateIpAddress(report: Report, object: Fields): void {
  const parent = at(object, 'spec').parentRef;
  const path = 'spec.parentRef';
  if (!isFields(parent)) {
    report.required(path);
    return;
  }
  const group = text(parent, 'group');
  if (group !== '') report.allInvalid(`${path}.group`, group, dnsSubdomain(group));
  for (const field of ['resource', 'name'] as const) {
    const value = text(parent, field);
    if (value === '') report.required(`${path}.${field}`);
    else report.allInvalid(`${path}.${field}`, value, pathSegment(value));
  }
  const namespace = text(parent, 'namespace');
  if (namespace !== '') report.allInvalid(`${path}.namespace`, namespace, pathSegment(namespace));
}

export function validateIpAddressUpdate(report: Report, object: Fields, old: Fields): void {
  const [now, before] = [at(object, 'spec').parentRef, at(old, 'spec').parentRef];
  if (!sameValue(now, before)) report.invalid('spec.parentRef', now, immutable);
}
