// What a Corefile says, as typed data: one entry a server block, each plugin with its options. No I/O, no text to run.
import type { Ip } from '../../net/address.ts';
import type { Name } from '../records.ts';

/** A whole Corefile that is followed. */
export interface ServerConfig {
  readonly blocks: readonly ServerBlock[];
}

/** The port of a server block that names none. */
export const defaultPort = 53;

export interface ServerBlock {
  /** The zones that it answers for, the root as ''. A question goes to the block with the longest zone it is within. */
  readonly zones: readonly Name[];
  readonly port: number;
  readonly line: number;
  readonly kubernetes?: KubernetesOptions;
  /** In their order: the first one that is responsible for the name is asked. */
  readonly forwards: readonly ForwardOptions[];
  readonly cache?: CacheOptions;
  readonly hosts?: HostsOptions;
  readonly rewrites: readonly RewriteRule[];
  readonly logs: readonly LogOptions[];
  readonly health?: { readonly address: ListenAddress; readonly lameduckMs: number };
  readonly ready?: ListenAddress;
  readonly prometheus?: ListenAddress;
  /** Threads that answer, each with a socket of its own; as many as there are processors where no number is given. */
  readonly multisocket?: { readonly sockets?: number };
  /** Upstreams that lead back to this cluster's DNS are found and left out. */
  readonly loop: boolean;
  /** Addresses take turns in being the first. */
  readonly loadbalance: boolean;
  /** Names are completed with the search list of the client's own namespace, on the server. */
  readonly autopath: boolean;
  /** Failures are written to the log. */
  readonly errors: boolean;
  /** ANY is answered with HINFO (RFC 8482). */
  readonly any: boolean;
  /** Says which server it is, in the class CH: version.bind, hostname.bind … */
  readonly chaos?: { readonly version: string; readonly authors: readonly string[] };
  /** Answers with the address of who asks, where no other plugin answers. */
  readonly whoami: boolean;
}

/** Where a status page listens: every address where none is named. */
export interface ListenAddress {
  readonly host?: string;
  readonly port: number;
}

/** The zones for which a name that is not known is asked of the next plugin; [''] is all. */
export type Fallthrough = readonly Name[];

export interface KubernetesOptions {
  readonly line: number;
  /** Zones of names and reverse zones; the first one that is no reverse zone is the one that PTR records name. */
  readonly zones: readonly Name[];
  /** Names such as 10-244-1-2.default.pod.cluster.local: never, for any address, or for addresses of pods only. */
  readonly pods: 'disabled' | 'insecure' | 'verified';
  /** Seconds, 0 to 3600. */
  readonly ttl: number;
  /** False: no names of endpoints and no headless Services. */
  readonly endpoints: boolean;
  readonly endpointPodNames: boolean;
  /** Only these namespaces have names. */
  readonly namespaces?: readonly string[];
  /** Only namespaces with these labels have names; a label selector. */
  readonly namespaceLabels?: string;
  /** Only Services with these labels have names; a label selector. */
  readonly labels?: string;
  /** Services without a ready endpoint have no name. */
  readonly ignoreEmptyServices: boolean;
  readonly fallthrough?: Fallthrough;
}

/** Whom to ask: a server, or those that a file in the form of resolv.conf names. */
export type ForwardTarget =
  | {
      readonly kind: 'server';
      readonly protocol: 'dns' | 'tls';
      readonly address: Ip;
      readonly port: number;
      /** The name that its certificate must have. */
      readonly serverName?: string;
    }
  | { readonly kind: 'file'; readonly path: string };

export interface ForwardOptions {
  readonly line: number;
  readonly from: Name;
  readonly to: readonly ForwardTarget[];
  readonly except: readonly Name[];
  readonly policy: 'random' | 'round_robin' | 'sequential';
  readonly forceTcp: boolean;
  readonly preferUdp: boolean;
  /** So many failed checks make an upstream one that is down; 0: it is never so. */
  readonly maxFails: number;
  /** How long an idle connection is kept. */
  readonly expireMs: number;
  readonly healthCheckMs: number;
  readonly healthRecursion: boolean;
  readonly healthDomain: Name;
  /** How many questions may be on their way at once; 0: any number. */
  readonly maxConcurrent: number;
  /** How many upstreams one question may be sent to; 0: any number. */
  readonly maxConnectAttempts: number;
  /** Codes of answers after which the next `forward` is asked. */
  readonly next: readonly number[];
  readonly nextOnNoData: boolean;
  /** Codes of answers after which another upstream of this one is asked. */
  readonly failover: readonly number[];
  /** With all upstreams down: SERVFAIL at once, instead of trying one of them. */
  readonly failFast: boolean;
  /** PEM texts for DNS over TLS. */
  readonly tls: { readonly ca?: string; readonly certificate?: string; readonly key?: string };
}

export interface CacheLimits {
  readonly capacity: number;
  /** Seconds for which an answer is kept at most and at least. */
  readonly maxTtl: number;
  readonly minTtl: number;
}

export interface CacheOptions {
  readonly line: number;
  /** Names that are kept; all of the server block's where empty. */
  readonly zones: readonly Name[];
  readonly success: CacheLimits;
  readonly denial: CacheLimits;
  /** Names asked so often without a pause are asked again before they expire. */
  readonly prefetch?: { readonly amount: number; readonly pauseMs: number; readonly percentage: number };
  /** Answers that expired are given for so long; `verify` asks upstream first. */
  readonly serveStale?: { readonly forMs: number; readonly mode: 'immediate' | 'verify' };
  /** How long a SERVFAIL is kept; 0: not at all. */
  readonly servfailMs: number;
  readonly disableSuccess: readonly Name[];
  readonly disableDenial: readonly Name[];
  /** TTLs are given as they came, not as what is left of them. */
  readonly keepTtl: boolean;
}

export interface HostsOptions {
  readonly line: number;
  /** In the form of hosts(5). */
  readonly file: string;
  /** Lines of the Corefile itself, in the same form. */
  readonly entries: readonly HostsEntry[];
  /** Names that it answers for; all of the server block's where empty. */
  readonly zones: readonly Name[];
  readonly ttl: number;
  readonly reverse: boolean;
  /** How often the file is read again; 0: never. */
  readonly reloadMs: number;
  readonly fallthrough?: Fallthrough;
}

export interface HostsEntry {
  readonly address: Ip;
  readonly names: readonly Name[];
}

/** How a rule finds its names. A regular expression is one of RE2: its time is linear in the length of the name. */
export type NameMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix' | 'substring'; readonly text: string }
  | { readonly kind: 'regex'; readonly pattern: RegexMatcher };

/** A regular expression that cannot take long: the groups of the first match, the whole of it first. */
export interface RegexMatcher {
  readonly source: string;
  match(text: string): readonly string[] | undefined;
}

/** How names of an answer are changed: a pattern and what takes its place, with {1} for its groups. */
export interface AnswerRule {
  readonly field: 'name' | 'value';
  readonly from: RegexMatcher;
  readonly to: string;
}

export type RewriteRule = { readonly line: number; readonly next: 'continue' | 'stop' } & (
  | {
      readonly kind: 'name';
      readonly match: NameMatch;
      readonly to: string;
      /** `auto` turns the change round in answers; a list has rules for them. */
      readonly answer: 'auto' | readonly AnswerRule[];
    }
  | { readonly kind: 'type' | 'class'; readonly from: number; readonly to: number }
  | { readonly kind: 'ttl'; readonly match: NameMatch; readonly least: number; readonly most: number }
  | { readonly kind: 'rcode'; readonly match: NameMatch; readonly from: number; readonly to: number }
);

export interface LogOptions {
  readonly line: number;
  readonly names: readonly Name[];
  /** Words and placeholders such as {name}. */
  readonly format: string;
  readonly classes: readonly ('success' | 'denial' | 'error' | 'all')[];
}
