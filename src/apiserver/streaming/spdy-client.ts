// The client's side of a SPDY/3.1 connection to a kubelet: opens streams, sends and receives their data.
import type { Duplex } from 'node:stream';
import { createFrameReader, createFrameWriter, dataFrames, goAwayFrame, pingFrame } from './spdy-frames.ts';

export interface SpdyEvents {
  data(stream: number, data: Buffer): void;
  /** The other side has ended this stream. */
  end(stream: number): void;
  /** The connection is over: all streams are. Called once. */
  close(): void;
}

export interface SpdyConnection {
  /** Opens a stream with these headers and returns its number. */
  open(headers: Readonly<Record<string, string>>): number;
  /** False when the connection is full: wait for `drained`. */
  write(stream: number, data: Buffer): boolean;
  /** Ends our side of the stream. */
  end(stream: number): void;
  drained(): Promise<void>;
  pause(): void;
  resume(): void;
  close(): void;
}

/** Takes over an upgraded connection; `head` is what came with the answer to the upgrade. */
export function createSpdyConnection(socket: Duplex, head: Buffer, events: SpdyEvents): SpdyConnection {
  const writer = createFrameWriter();
  const read = createFrameReader();
  let lastStream = -1;
  let closed = false;

  const close = () => {
    if (closed) return;
    closed = true;
    socket.destroy();
    events.close();
  };
  const send = (frames: readonly Buffer[]): boolean => {
    if (closed || !socket.writable) return true;
    socket.cork();
    let free = true;
    for (const frame of frames) free = socket.write(frame);
    socket.uncork();
    return free;
  };
  const receive = (chunk: Buffer) => {
    try {
      for (const frame of read(chunk)) {
        if (closed) return;
        if (frame.type === 'data' && frame.data.length > 0) events.data(frame.stream, frame.data);
        if ((frame.type === 'data' || frame.type === 'reply') && frame.last) events.end(frame.stream);
        if (frame.type === 'reset') events.end(frame.stream);
        // Pings with odd numbers are our own, come back.
        if (frame.type === 'ping' && frame.id % 2 === 0) send([pingFrame(frame.id)]);
        if (frame.type === 'goAway') close();
      }
    } catch {
      close();
    }
  };

  socket.on('error', close);
  socket.on('close', close);
  socket.on('end', close);
  socket.on('data', receive);
  if (head.length > 0) queueMicrotask(() => receive(head));

  return {
    open(headers) {
      lastStream += 2;
      send([writer.synStream(lastStream, headers)]);
      return lastStream;
    },
    write: (stream, data) => send(dataFrames(stream, data)),
    end: (stream) => void send(dataFrames(stream, Buffer.alloc(0), true)),
    drained: () =>
      new Promise((resolve) => {
        if (closed || !socket.writableNeedDrain) return resolve();
        const done = () => {
          socket.off('drain', done);
          socket.off('close', done);
          resolve();
        };
        socket.on('drain', done);
        socket.on('close', done);
      }),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close() {
      send([goAwayFrame()]);
      close();
    },
  };
}
