// The words before a server block: zones, ports, ranges of addresses as reverse zones. Pure.
import { parseCidr, rangeOf } from '../../net/address.ts';
import type { Name } from '../records.ts';
import { defaultPort } from './config.ts';
import { CorefileError } from './tokens.ts';

export interface ServerKey {
  readonly zones: readonly Name[];
  readonly port: number;
}

const label = /^[a-z0-9_*]([-a-z0-9_]{0,61}[a-z0-9_])?$/;

/** Whether text is a domain name of host-like labels, the root as ''. */
export const isName = (text: string): boolean =>
  text === '' || (text.length <= 253 && text.split('.').every((part) => label.test(part)));

/** A domain name as tables have it: lower case, without the final dot, the root as ''. */
export function readName(text: string, line: number): Name {
  const name = text.toLowerCase().replace(/\.$/, '');
  if (!isName(name)) throw new CorefileError(line, `'${text}' is no domain name`);
  return name;
}

/** Zones as arguments of plugins: names, or ranges of addresses that stand for their reverse zones. */
export function readZones(texts: readonly string[], line: number): Name[] {
  return texts.flatMap((text) => reverseZones(text, line) ?? [readName(text, line)]);
}

/** A key such as `.`, `.:53`, `dns://example.org:1053` or `10.0.0.0/16`. */
export function readServerKey(text: string, line: number): ServerKey {
  const [, scheme = 'dns', rest = ''] = /^(?:([a-z]+):\/\/)?(.*)$/is.exec(text) ?? [];
  if (scheme.toLowerCase() !== 'dns')
    throw new CorefileError(line, `${text}: a server for ${scheme}:// is not supported; only plain DNS is`);
  const [, host = '', portText] = /^(.*?)(?::(\d+))?$/s.exec(rest) ?? [];
  const port = portText === undefined ? defaultPort : Number(portText);
  if (port < 1 || port > 65_535) throw new CorefileError(line, `${text}: ${portText} is no port`);
  // ':53' alone is the root, as in CoreDNS.
  return { zones: reverseZones(host, line) ?? [readName(host === '.' ? '' : host, line)], port };
}

/** The reverse zones of a range: more than one where its length is not that of whole labels. Undefined for a name. */
function reverseZones(text: string, line: number): Name[] | undefined {
  if (!text.includes('/')) return undefined;
  const range = parseCidr(text);
  if (range === undefined) throw new CorefileError(line, `'${text}' is no range of addresses such as 10.0.0.0/16`);
  const { first, prefix, family } = rangeOf(range);
  const [bits, step, digits] = family === 'IPv4' ? ([32, 8, 10] as const) : ([128, 4, 16] as const);
  const labels = Math.ceil(prefix / step);
  const suffix = family === 'IPv4' ? 'in-addr.arpa' : 'ip6.arpa';
  const count = 2 ** (labels * step - prefix);
  const top = labels === 0 ? 0n : first >> BigInt(bits - labels * step);
  return Array.from({ length: count }, (_, index) => {
    let value = top + BigInt(index);
    const parts: string[] = [];
    for (let part = 0; part < labels; part++) {
      parts.push((value & ((1n << BigInt(step)) - 1n)).toString(digits));
      value >>= BigInt(step);
    }
    return [...parts, suffix].join('.');
  });
}
