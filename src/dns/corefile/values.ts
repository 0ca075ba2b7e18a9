// The values in a Corefile's lines: whole numbers, durations as Go writes them, codes and types by name. Pure.
import { rcode } from '../records.ts';
import type { Directive, OptionLine } from './blocks.ts';
import { CorefileError } from './tokens.ts';

/** A line of which a value is read: its name and its place are in every error. */
export type Line = Pick<OptionLine | Directive, 'name' | 'args' | 'line'>;

/** Throws unless the line has so many arguments. */
export function expectArguments({ name, args, line }: Line, least: number, most = least): void {
  if (args.length >= least && args.length <= most) return;
  const wanted =
    least === most ? `${least}` : most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
  throw new CorefileError(line, `${name} takes ${wanted} arguments and has ${args.length}`);
}

/** A whole number within limits. */
export function readWhole({ name, line }: Line, text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new CorefileError(line, `${name}: '${text}' must be a whole number from ${least} to ${most}`);
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration such as 5s, 1m30s or 0, in milliseconds. */
export function readDuration({ name, line }: Line, text: string): number {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text))
    throw new CorefileError(line, `${name}: '${text}' must be a duration such as 5s or 1h30m`);
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(amount) * (unitMs[unit ?? ''] ?? 0);
  return sum;
}

/** One of some words. */
export function readWord<T extends string>({ name, line }: Line, text: string | undefined, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new CorefileError(line, `${name}: '${text ?? ''}' must be one of ${words.join(', ')}`);
}

/** The codes of answers by the names that CoreDNS prints. */
const rcodeNames: Readonly<Record<string, number>> = {
  NOERROR: rcode.noError,
  FORMERR: rcode.formatError,
  SERVFAIL: rcode.serverFailure,
  NXDOMAIN: rcode.noSuchName,
  NOTIMP: rcode.notImplemented,
  REFUSED: rcode.refused,
  YXDOMAIN: 6,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
};

export function readRcode({ name, line }: Line, text: string): number {
  const code = rcodeNames[text.toUpperCase()];
  if (code !== undefined) return code;
  throw new CorefileError(line, `${name}: '${text}' must be a code such as NXDOMAIN or SERVFAIL`);
}

/** The types of records by name (IANA's registry; those that are asked for). */
export const typeNames: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  DS: 43,
  SSHFP: 44,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  NSEC3: 50,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
  CAA: 257,
};

const nameOfType = new Map(Object.entries(typeNames).map(([name, code]) => [code, name]));
const nameOfCode = new Map(Object.entries(rcodeNames).map(([name, code]) => [code, name]));

/** A type as people write it; TYPE65280 where it has no name here (RFC 3597). */
export const typeName = (code: number): string => nameOfType.get(code) ?? `TYPE${code}`;

/** The name of an answer's code. */
export const rcodeName = (code: number): string => nameOfCode.get(code) ?? (code === 16 ? 'BADVERS' : `RCODE${code}`);

export function readType({ name, line }: Line, text: string): number {
  const code = typeNames[text.toUpperCase()] ?? (/^TYPE\d{1,5}$/i.test(text) ? Number(text.slice(4)) : undefined);
  if (code !== undefined && code <= 65_535) return code;
  throw new CorefileError(line, `${name}: '${text}' must be a type of records such as A or MX`);
}

export const classNames: Readonly<Record<string, number>> = { IN: 1, CH: 3, HS: 4, NONE: 254, ANY: 255 };

export function readClass({ name, line }: Line, text: string): number {
  const code = classNames[text.toUpperCase()];
  if (code !== undefined) return code;
  throw new CorefileError(line, `${name}: '${text}' must be a class: ${Object.keys(classNames).join(', ')}`);
}
