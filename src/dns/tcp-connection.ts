// One connection over TCP: queries one after the other or many at once, each answered when its answer is there (RFC 7766).
import type { Socket } from 'node:net';
import { framed } from './forward/stream.ts';
import type { Answerer } from './listeners.ts';

const idleMilliseconds = 10_000;
/** So many answers of one connection may be on their way; its next queries are read later. */
const largestPipeline = 64;
/** So many octets may wait for a client that does not read; its next queries are read later. */
const largestBacklog = 256 << 10;
const largestMessage = 65_535;

/** Answers of the hot path that go out together; filled and emptied within one call, so that all connections share it. */
const gathered = Buffer.allocUnsafeSlow(4 * (2 + largestMessage));

export function serveConnection({ hot, responder, tally }: Answerer, socket: Socket): void {
  const client = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
  const family = client.address.includes(':') ? 2 : 1;
  let received: Buffer = Buffer.alloc(0);
  let underway = 0;
  const give = (answer: Buffer | undefined): void => {
    if (answer !== undefined && !socket.destroyed) socket.write(framed(answer));
  };
  const giveLate = (answer: Buffer | undefined): void => {
    underway--;
    give(answer);
    if (underway === largestPipeline - 1) next();
  };
  const slowly = (message: Buffer): void => {
    const answer = responder.respond(message, 'tcp', client);
    if (answer instanceof Promise) {
      underway++;
      void answer.then(giveLate, () => giveLate(undefined));
    } else give(answer);
  };
  const isFull = (): boolean => underway >= largestPipeline || socket.writableLength >= largestBacklog;

  /** Answers what is whole, from `at` on, until the room is used up; where it ended. */
  const answerSome = (at: number): number => {
    let next = at;
    let used = 0;
    while (!isFull() && received.length >= next + 2 && used <= gathered.length - 2 - largestMessage) {
      const length = received.readUInt16BE(next);
      const start = next + 2;
      if (received.length < start + length) break;
      next = start + length;
      const written = hot.answer(received, start, length, gathered, used + 2, 'tcp');
      if (written === 0) slowly(received.subarray(start, next));
      else {
        tally.note('tcp', family, hot.last.qtype, hot.last.rcode, length, written);
        gathered.writeUInt16BE(written, used);
        used += 2 + written;
      }
    }
    if (used > 0 && !socket.destroyed) socket.write(Buffer.from(gathered.subarray(0, used)));
    return next;
  };
  const next = (): void => {
    let at = 0;
    for (let before = -1; at !== before; ) {
      before = at;
      at = answerSome(at);
    }
    received = received.subarray(at);
    if (isFull()) socket.pause();
    else socket.resume();
  };

  socket.setNoDelay(true);
  socket.setTimeout(idleMilliseconds, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('drain', next);
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    next();
  });
}
