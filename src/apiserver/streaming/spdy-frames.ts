// SPDY/3.1 framing, as far as a client of the Kubernetes streaming protocol needs it: frames as bytes, both ways.
// Source: SPDY Protocol Draft 3.1, sections 2.2 (frames) and 2.6.10 (name/value header block).

export type Frame =
  /** A piece of a stream's data; `last` when the sender has ended its side. Large frames come in several pieces. */
  | { readonly type: 'data'; readonly stream: number; readonly data: Buffer; readonly last: boolean }
  | { readonly type: 'reset'; readonly stream: number }
  /** The sender ended its side with its SYN_REPLY or with HEADERS. */
  | { readonly type: 'reply'; readonly stream: number; readonly last: boolean }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'goAway' };

const control = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goAway: 7, headers: 8 } as const;
const flagFin = 0x01;
const maxLength = 2 ** 24 - 1;
/** No peer of ours sends control frames near this size: more is not SPDY. */
const maxControlLength = 2 ** 20;

/** Writes the streams' beginnings of one connection. */
export function createFrameWriter(): {
  synStream(stream: number, headers: Readonly<Record<string, string>>): Buffer;
} {
  const write = createHeaderWriter();
  return {
    synStream(stream, headers) {
      const body = Buffer.alloc(10);
      body.writeUInt32BE(stream, 0);
      return controlFrame(control.synStream, Buffer.concat([body, write(headers)]));
    },
  };
}

/**
 * Writes the header blocks of one direction of a connection: together they are one zlib stream. Such a stream may
 * consist of stored (uncompressed) blocks, which every inflater reads and which need no state here.
 */
export function createHeaderWriter(): (headers: Readonly<Record<string, string>>) => Buffer {
  let first = true;
  return (headers) => {
    const block = Buffer.concat([first ? zlibHeader : Buffer.alloc(0), storedBlock(headerBlock(headers)), syncFlush]);
    first = false;
    return block;
  };
}

/** CMF: deflate with a 32 kB window. FLG: no preset dictionary, and the check bits that make both a multiple of 31. */
const zlibHeader = Buffer.from([0x78, 0x01]);

/** One stored deflate block (RFC 1951, section 3.2.4), not the last one of its stream. */
function storedBlock(content: Buffer): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0]);
  header.writeUInt16LE(content.length, 1);
  header.writeUInt16LE(~content.length & 0xffff, 3);
  return Buffer.concat([header, content]);
}

/** What a sync flush ends with: an empty block. Go's inflater hands out what it has only after it. */
const syncFlush = storedBlock(Buffer.alloc(0));

function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([uint32(bytes.length), bytes]);
  };
  const entries = Object.entries(headers).map(([name, value]) =>
    Buffer.concat([text(name.toLowerCase()), text(value)]),
  );
  return Buffer.concat([uint32(entries.length), ...entries]);
}

/** Data of a stream; more than a frame can hold becomes several frames. */
export function dataFrames(stream: number, data: Buffer, last = false): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  do {
    const piece = data.subarray(at, at + maxLength);
    at += piece.length;
    const header = Buffer.alloc(8);
    header.writeUInt32BE(stream, 0);
    header.writeUInt32BE(piece.length, 4);
    header.writeUInt8(last && at >= data.length ? flagFin : 0, 4);
    frames.push(header, piece);
  } while (at < data.length);
  return frames;
}

export const pingFrame = (id: number): Buffer => controlFrame(control.ping, uint32(id));

/** Ends the connection in order: no stream was refused, status OK. */
export const goAwayFrame = (): Buffer => controlFrame(control.goAway, Buffer.alloc(8));

function controlFrame(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(0x8003, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/**
 * Reads a connection piece by piece: data frames are passed on as their bytes come, control frames when whole. Frames
 * that say nothing to a client (SETTINGS, WINDOW_UPDATE, header contents) are dropped.
 */
export function createFrameReader(): (chunk: Buffer) => Frame[] {
  let pending: Buffer = Buffer.alloc(0);
  let open: { stream: number; left: number; last: boolean } | undefined;
  return (chunk) => {
    const frames: Frame[] = [];
    let rest = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (open !== undefined) {
        const piece = rest.subarray(0, open.left);
        rest = rest.subarray(piece.length);
        open.left -= piece.length;
        const done = open.left === 0;
        if (piece.length > 0 || done)
          frames.push({ type: 'data', stream: open.stream, data: piece, last: done && open.last });
        if (!done) break;
        open = undefined;
      }
      if (rest.length < 8) break;
      const length = rest.readUIntBE(5, 3);
      if ((rest.readUInt8(0) & 0x80) === 0) {
        open = { stream: rest.readUInt32BE(0), left: length, last: (rest.readUInt8(4) & flagFin) !== 0 };
        rest = rest.subarray(8);
        continue;
      }
      if (length > maxControlLength) throw new RangeError(`a SPDY control frame of ${length} bytes is too large`);
      if (rest.length < 8 + length) break;
      const frame = controlContent(rest.readUInt16BE(2), rest.readUInt8(4), rest.subarray(8, 8 + length));
      if (frame !== undefined) frames.push(frame);
      rest = rest.subarray(8 + length);
    }
    pending = rest;
    return frames;
  };
}

function controlContent(type: number, flags: number, body: Buffer): Frame | undefined {
  if (type === control.goAway) return { type: 'goAway' };
  if (body.length < 4) return undefined;
  const number = body.readUInt32BE(0);
  switch (type) {
    case control.ping:
      return { type: 'ping', id: number };
    case control.rstStream:
      return { type: 'reset', stream: number };
    case control.synReply:
    case control.headers:
      return { type: 'reply', stream: number, last: (flags & flagFin) !== 0 };
    default:
      return undefined;
  }
}
