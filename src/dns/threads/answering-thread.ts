// A thread that answers over UDP from memory and does nothing else: it waits for its sockets and for messages of the main
// thread, to which it hands what is not for the hot path. Entry point; started by threads.ts.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { lowerSignal, Readiness } from '../../linux/readiness.ts';
import { answerBatch, createBatch } from '../datagram-answers.ts';
import { HotTally } from '../metrics/hot-tally.ts';
import { Sources } from '../sources.ts';
import type { FeedMessage } from './feed.ts';
import { isEndingAt, type ThreadData, type ToMain, waitingAt } from './protocol.ts';
import { ThreadView } from './view.ts';

/** So many questions may wait for the main thread; more are left without an answer, as by a socket that is full. */
const mostWaiting = 4096;
/** It looks this often, in ms, whether it is to end, in case that nobody could tell. */
const longestWaitMs = 1000;

function answerUntilEnd(data: ThreadData): void {
  const { sockets, signal, clientRanges } = data;
  const state = new Int32Array(data.state);
  const tally = new HotTally(data.tally);
  const sources = new Sources(clientRanges);
  const batch = createBatch();
  const view = new ThreadView();
  const familyOf = new Map(sockets.map(({ fd, family }) => [fd, family]));
  const readiness = new Readiness();
  const tell = (message: ToMain): void => parentPort?.postMessage(message);

  const takeMessages = (): void => {
    lowerSignal(signal);
    if (parentPort === null) return;
    for (let next = receiveMessageOnPort(parentPort); next !== undefined; next = receiveMessageOnPort(parentPort)) {
      const message: FeedMessage = next.message;
      view.take(message);
      if (message.kind !== 'begin') continue;
      for (const { fd } of sockets) readiness.add(fd);
      tell({ kind: 'begun' });
    }
  };
  const answer = (fd: number, family: 1 | 2): void => {
    const handed: Extract<ToMain, { kind: 'handed' }>['queries'][number][] = [];
    answerBatch(fd, family, batch, { hot: view.hot, sources, tally }, (index) => {
      if (Atomics.load(state, waitingAt) >= mostWaiting) return tally.noteDropped();
      Atomics.add(state, waitingAt, 1);
      const start = batch.start(index);
      const message = Uint8Array.from(batch.memory.subarray(start, start + batch.length(index)));
      handed.push({ fd, message, name: batch.name(index), ...batch.source(index) });
    });
    if (handed.length > 0) tell({ kind: 'handed', queries: handed });
  };

  readiness.add(signal);
  while (Atomics.load(state, isEndingAt) === 0) {
    const count = readiness.wait(longestWaitMs);
    for (let index = 0; index < count; index++) {
      const fd = readiness.ready(index);
      const family = familyOf.get(fd);
      if (family === undefined) takeMessages();
      else answer(fd, family);
    }
  }
  readiness.close();
}

const data: ThreadData = workerData;
answerUntilEnd(data);
