// What the main thread and an answering thread have between them: data at the start, numbers in common, messages back.
import type { Cidr } from '../../net/address.ts';
import type { HandedQuery } from '../udp-listener.ts';

export interface ThreadData {
  /** The sockets that it reads; they stay the main thread's. */
  readonly sockets: readonly { readonly fd: number; readonly family: 1 | 2 }[];
  /** Raised when there are messages, or when it is to end. */
  readonly signal: number;
  /** Two numbers: at {@link isEndingAt} and at {@link waitingAt}. */
  readonly state: SharedArrayBuffer;
  /** The memory of its HotTally. */
  readonly tally: SharedArrayBuffer;
  readonly clientRanges: readonly Cidr[];
}

/** Not 0 when the thread is to end. */
export const isEndingAt = 0;
/** How many questions it has handed over that the main thread has not taken. */
export const waitingAt = 1;
export const stateLength = 2;

export type ToMain =
  /** It reads its sockets. */
  { readonly kind: 'begun' } | { readonly kind: 'handed'; readonly queries: readonly HandedQuery[] };
