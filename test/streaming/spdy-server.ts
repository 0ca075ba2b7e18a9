// A SPDY/3.1 server for tests: what a container runtime's streaming server does, as small as it can be.
import type { Duplex } from 'node:stream';
import { constants, inflateRawSync } from 'node:zlib';
import { createHeaderWriter, dataFrames } from '../../src/apiserver/streaming/spdy-frames.ts';

/** Names and values of the SPDY/3 dictionary, each with its length before it (SPDY draft 3.1, section 2.6.10.1). */
const words = [
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow',
  'authorization cache-control connection content-base content-encoding content-language content-length',
  'content-location content-md5 content-range content-type date etag expect expires from host if-match',
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma',
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade',
  'user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie',
  'keep-alive origin',
].flatMap((line) => line.split(' '));
const tail = [
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505',
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized',
  '403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable',
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT',
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,',
  'text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.',
].join('');
export const spdyDictionary = Buffer.concat([
  ...words.flatMap((word) => {
    const text = Buffer.from(word.replace('_', ' '));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    return [length, text];
  }),
  Buffer.from(tail),
]);

/** Reads the header blocks of one connection: one zlib stream, of which each block ends at a byte. */
export function createHeaderReader(): (block: Buffer) => Record<string, string> {
  let window = spdyDictionary;
  let first = true;
  return (block) => {
    const hasDictionary = ((block[1] ?? 0) & 0x20) !== 0;
    const deflated = first ? block.subarray(hasDictionary ? 6 : 2) : block;
    if (first && !hasDictionary) window = Buffer.alloc(0);
    first = false;
    const plain = inflateRawSync(deflated, {
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(window.length > 0 && { dictionary: window }),
    });
    window = Buffer.concat([window, plain]).subarray(-32768);
    return parseHeaders(plain);
  };
}

function parseHeaders(plain: Buffer): Record<string, string> {
  let at = 0;
  const number = () => {
    at += 4;
    return plain.readUInt32BE(at - 4);
  };
  const text = () => {
    const length = number();
    at += length;
    return plain.toString('utf8', at - length, at);
  };
  const headers: Record<string, string> = {};
  for (let left = number(); left > 0; left--) {
    const name = text();
    headers[name] = text();
  }
  return headers;
}

export interface ServerStream {
  readonly id: number;
  readonly headers: Record<string, string>;
  onData(listener: (data: Buffer) => void): void;
  onEnd(listener: () => void): void;
  write(data: Buffer): void;
  end(): void;
}

/** Serves an upgraded connection; each stream of the client is answered at once and handed to `accept`. */
export function serveSpdy(socket: Duplex, head: Buffer, accept: (stream: ServerStream) => void): void {
  const readHeaders = createHeaderReader();
  const streams = new Map<number, { data(data: Buffer): void; end(): void }>();
  let pending = head;
  const writeHeaders = createHeaderWriter();
  const control = (type: number, body: Buffer) => {
    const header = Buffer.alloc(8);
    header.writeUInt16BE(0x8003, 0);
    header.writeUInt16BE(type, 2);
    header.writeUInt32BE(body.length, 4);
    socket.write(Buffer.concat([header, body]));
  };
  const open = (id: number, headers: Record<string, string>) => {
    const early: Buffer[] = [];
    let ended = false;
    let onData = (data: Buffer): void => void early.push(data);
    let onEnd = () => {
      ended = true;
    };
    streams.set(id, { data: (data) => onData(data), end: () => onEnd() });
    const reply = Buffer.alloc(4);
    reply.writeUInt32BE(id);
    control(2, Buffer.concat([reply, writeHeaders({})]));
    accept({
      id,
      headers,
      onData(listener) {
        for (const data of early.splice(0)) listener(data);
        onData = listener;
      },
      onEnd(listener) {
        if (ended) listener();
        onEnd = listener;
      },
      write: (data) => {
        for (const frame of dataFrames(id, data)) socket.write(frame);
      },
      end: () => {
        for (const frame of dataFrames(id, Buffer.alloc(0), true)) socket.write(frame);
      },
    });
  };
  const read = () => {
    while (pending.length >= 8) {
      const length = pending.readUIntBE(5, 3);
      if (pending.length < 8 + length) return;
      const body = pending.subarray(8, 8 + length);
      const first = pending.readUInt32BE(0);
      const flags = pending.readUInt8(4);
      pending = pending.subarray(8 + length);
      if ((first & 0x80000000) === 0) {
        if (body.length > 0) streams.get(first)?.data(body);
        if (flags & 1) streams.get(first)?.end();
      } else if ((first & 0xffff) === 1) open(body.readUInt32BE(0), readHeaders(body.subarray(10)));
      else if ((first & 0xffff) === 6) control(6, body);
    }
  };
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    read();
  });
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  read();
}
