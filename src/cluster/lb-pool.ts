// The addresses of load balancers of an embedded cluster (--lb-pool), as a user writes them; the default. Pure.
import { addressAt, asCidr, familyOf, formatIp, rangeOf } from '../net/address.ts';
import { formatSpan, parseSpan, type Span, spanOf, spansOverlap } from '../net/span.ts';
import type { ClusterRanges } from './ranges.ts';
import { type Segment, segmentsOf, type UnderlaySettings } from './segments.ts';
import { SettingsError } from './settings-error.ts';

type Ranges = ClusterRanges & UnderlaySettings;
type Named = readonly [what: string, span: Span];

/** The router has the first address of each subnet, and nodes those that follow: so many are never a pool's. */
const kept = 256n;

/** No pool. */
export const noLbPool = 'none';

/** The ranges of a pool as text, one of each family, by a comma; or `none`. */
export function decideLbPool(value: unknown, ranges: Ranges): string {
  if (value === undefined) return defaultLbPool(ranges);
  if (value === noLbPool) return noLbPool;
  const spans = String(value)
    .split(',')
    .map((text) => readSpan(text.trim(), String(value)));
  for (const [index, span] of spans.entries()) checkSpan(span, spans.slice(0, index), ranges);
  return spans.map(textOf).join(',');
}

/** The spans of a pool's text; none of `none`. */
export function lbPoolSpans(text: string): string[] {
  return text === noLbPool ? [] : text.split(',');
}

/** 254 addresses of the first subnet, far behind the nodes': its sixth /24 from the end, or that many of IPv6. */
function defaultLbPool(ranges: Ranges): string {
  const [first] = segmentsOf(ranges);
  return (first?.subnets ?? [])
    .map((range) => {
      const { size } = rangeOf(range);
      const from = size > 1n << 32n ? 0xfa00_0000n : size - 6n * 256n;
      return `${addressAt(range, from + 1n)}-${addressAt(range, from + 254n)}`;
    })
    .join(',');
}

function readSpan(text: string, value: string): Span {
  const span = parseSpan(text);
  if (typeof span !== 'string') return span;
  throw new SettingsError(`--lb-pool '${value}'${text === value ? '' : `: '${text}'`} ${span}`);
}

function checkSpan(span: Span, before: readonly Span[], ranges: Ranges): void {
  const option = `--lb-pool ${textOf(span)}`;
  if (before.some(({ family }) => family === span.family))
    throw new SettingsError(`${option}: there is another ${span.family} range; give one of each family`);
  if (!ranges.podCidrs.some((range) => familyOf(range) === span.family))
    throw new SettingsError(`${option}: the cluster has no ${span.family} (see --pod-cidr)`);
  const taken: readonly Named[] = [
    ...ranges.podCidrs.map((range): Named => [`the addresses of pods, ${range}`, spanOf(range)]),
    ...ranges.serviceCidrs.map((range): Named => [`the addresses of Services, ${range}`, spanOf(range)]),
    ...segmentsOf(ranges).flatMap(placesOf),
    ...special,
  ];
  for (const [what, other] of taken)
    if (spansOverlap(span, other)) throw new SettingsError(`${option} overlaps with ${what}`);
}

/** The addresses of a subnet that its router and its nodes have or may have. */
function placesOf({ subnets }: Segment): Named[] {
  return subnets.map((range): Named => {
    const { family, first } = rangeOf(range);
    const span: Span = { family, first, last: first + kept - 1n };
    return [`the addresses of nodes, ${formatSpan(span)}`, span];
  });
}

/** Ranges that mean something else to every Linux. */
const special: readonly Named[] = [
  ['the loopback addresses', '127.0.0.0/8'],
  ['the link-local addresses', '169.254.0.0/16'],
  ['the multicast and reserved addresses', '224.0.0.0/3'],
  ['the special addresses', '::/8'],
  ['the link-local addresses', 'fe80::/10'],
  ['the multicast addresses', 'ff00::/8'],
].map(([what = '', range = '']): Named => [what, spanOf(asCidr(range))]);

/** As a CIDR where the span is one. */
function textOf(span: Span): string {
  const bits = span.family === 'IPv4' ? 32 : 128;
  const size = span.last - span.first + 1n;
  const prefix = bits - (size.toString(2).length - 1);
  const isBlock = (size & (size - 1n)) === 0n && span.first % size === 0n;
  return isBlock ? `${formatIp(span.first, span.family)}/${prefix}` : formatSpan(span);
}
