// Answers what waits at a UDP socket from memory, whole batches by one system call each, and hands over the rest.
import { DatagramBatch } from '../linux/datagrams.ts';
import type { HotPath } from './hot-path.ts';
import type { HotTally } from './metrics/hot-tally.ts';
import { cutToQuestion, type Sources } from './sources.ts';
import { udpSize } from './wire.ts';

/** Queries are short; what is longer than this is no query that deserves an answer. */
const longestQuery = 1232;

/** So many datagrams are taken by one system call at most. */
export const batchCount = 64;

export const createBatch = (): DatagramBatch =>
  new DatagramBatch({ count: batchCount, received: longestQuery, sent: udpSize });

export interface HotAnswerer {
  readonly hot: Pick<HotPath, 'answer' | 'last'>;
  /** Whose datagrams are believed to come from them. */
  readonly sources: Sources;
  readonly tally: HotTally;
}

/**
 * Takes one batch from a socket, without waiting, and answers it. `handOver` is given the place in the batch of each
 * datagram that is not for the hot path. How many datagrams there were.
 */
export function answerBatch(
  fd: number,
  family: 1 | 2,
  batch: DatagramBatch,
  { hot, sources, tally }: HotAnswerer,
  handOver: (index: number) => void,
): number {
  const count = batch.receive(fd);
  for (let index = 0; index < count; index++) {
    const start = batch.start(index);
    const length = batch.length(index);
    const written = hot.answer(batch.memory, start, length, batch.memory, batch.answerAt(index), 'udp');
    if (written > 0) {
      const v4 = written > length ? batch.sourceV4(index) : 0;
      const isOwn = written <= length || (v4 >= 0 ? sources.hasV4(v4) : sources.has(batch.source(index).address));
      const sent = isOwn ? written : cutToQuestion(batch.memory, batch.answerAt(index), written);
      batch.answered(index, sent);
      tally.note('udp', family, hot.last.qtype, hot.last.rcode, length, sent);
    } else if (length > 0) handOver(index);
  }
  batch.send(fd);
  return count;
}
