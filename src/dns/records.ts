// DNS records as typed values, and the codes of the protocol that this server uses (RFC 1035, 2782, 3596, 6891).
import type { Ip } from '../net/address.ts';

/** A domain name in lower case without the final dot; the root is empty. Labels are those of host names. */
export type Name = string;

export const type = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;

export const classInternet = 1;

/** What a record says. */
export type RecordData =
  | { readonly type: 'A' | 'AAAA'; readonly ip: Ip }
  | { readonly type: 'CNAME' | 'PTR' | 'NS'; readonly target: Name }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: Name;
    }
  | { readonly type: 'TXT'; readonly text: string }
  | { readonly type: 'HINFO'; readonly cpu: string; readonly os: string }
  | {
      readonly type: 'SOA';
      readonly mname: Name;
      readonly rname: Name;
      readonly serial: number;
      /** Seconds: refresh, retry, expire, and for how long a negative answer may be kept. */
      readonly timers: readonly [number, number, number, number];
    };

/** A record with its owner name and how long it may be kept, in seconds. */
export interface DnsRecord {
  readonly name: Name;
  readonly ttl: number;
  readonly data: RecordData;
  /** IN where absent. */
  readonly class?: number;
}

/** What a client asks. `raw` is the question as it came (name, type, class): it is echoed, so that letter case stays. */
export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly raw: Buffer;
}
