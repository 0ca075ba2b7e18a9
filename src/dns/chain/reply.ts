// A question on its way through the plugins of a server block, and what one of them replied.
import type { CachedAnswer } from '../cache.ts';
import type { Asked } from '../forward/question.ts';
import type { Transport } from '../forward/upstream.ts';
import { rcode } from '../records.ts';
import type { Reply } from '../wire.ts';

/** Who asks. */
export interface ClientAddress {
  readonly address: string;
  readonly port: number;
}

export interface ChainQuestion extends Asked {
  readonly transport: Transport;
  readonly client: ClientAddress;
  /** How many aliases have led here. */
  readonly depth: number;
}

/** The plugin that replied, as metrics and the query log name it; empty: the server itself. */
export type PluginName =
  | 'kubernetes'
  | 'hosts'
  | 'forward'
  | 'cache'
  | 'rewrite'
  | 'autopath'
  | 'any'
  | 'chaos'
  | 'whoami'
  | 'loop'
  | '';

/** Records of our own, or an upstream's whole answer. */
export type ChainReply =
  | { readonly by: PluginName; readonly kind: 'records'; readonly reply: Reply }
  | {
      readonly by: PluginName;
      readonly kind: 'message';
      readonly cached: CachedAnswer;
      /** Which of its addresses is the first (loadbalance). */
      readonly turn: number;
    };

export type MaybePromise<T> = T | Promise<T>;

/** What there is to do where a name is outside of the cluster and nobody can be asked for it. */
export const noUpstream = 'no upstream: give --dns-upstream to weft up, or edit the ConfigMap coredns';

/** A reply without records. */
export function emptyReply(code: number, explanation?: Reply['explanation']): Reply {
  return {
    rcode: code,
    authoritative: false,
    recursionAvailable: true,
    answers: [],
    authorities: [],
    additionals: [],
    ...(explanation !== undefined && { explanation }),
  };
}

export const records = (by: PluginName, reply: Reply): ChainReply => ({ by, kind: 'records', reply });

/** A failure of the server, with its reason for people (RFC 8914). */
export const failure = (by: PluginName, code: number, text: string): ChainReply =>
  records(by, emptyReply(rcode.serverFailure, { code, text }));

export const replyCode = (reply: ChainReply): number =>
  reply.kind === 'records' ? reply.reply.rcode : reply.cached.answer.rcode;
