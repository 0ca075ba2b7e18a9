// Any DNS message as records whose names stand alone, to be changed and written again (RFC 1035; RFC 3597 section 4).
import type { Name } from './records.ts';
import { readName, readRecords, WireError } from './wire.ts';

/** A record whose data points to nothing outside of it. */
export interface PlainRecord {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: Buffer;
}

/** Where names are in the data of the types that may be compressed: octets before each name, then the rest. */
const layouts: Readonly<Record<number, readonly number[]>> = {
  2: [0],
  5: [0],
  6: [0, 0],
  12: [0],
  15: [2],
  17: [0, 0],
  18: [2],
  33: [6],
  36: [2],
  39: [0],
};

/** The records of a message from an offset on; throws a WireError. */
export function readPlainRecords(message: Buffer, start: number, count: number): PlainRecord[] {
  return readRecords(message, start, count).map(({ name, type, class: kind, ttl, ttlAt, data }) => ({
    name,
    type,
    class: kind,
    ttl,
    data: mapNames(message, ttlAt + 6, data.length, type, (found) => found),
  }));
}

/** The data of a record with the names in it changed. */
export function mapDataNames({ type, data }: PlainRecord, change: (name: Name) => Name): Buffer {
  return mapNames(data, 0, data.length, type, change);
}

function mapNames(message: Buffer, start: number, length: number, type: number, change: (name: Name) => Name): Buffer {
  const layout = layouts[type];
  const last = start + length;
  if (layout === undefined) return Buffer.from(message.subarray(start, last));
  const parts: Buffer[] = [];
  let at = start;
  for (const before of layout) {
    parts.push(message.subarray(at, at + before));
    const { name, end } = readName(message, at + before);
    if (end > last) throw new WireError('a name in the data of a record runs past its end');
    parts.push(encodeAnyName(change(name)));
    at = end;
  }
  return Buffer.concat([...parts, message.subarray(at, last)]);
}

/** A record as it is written where no other name is pointed to. */
export function writePlainRecord({ name, type, class: kind, ttl, data }: PlainRecord): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(kind, 2);
  fixed.writeUInt32BE(ttl >>> 0, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodeAnyName(name), fixed, data]);
}

/** A name with any octets in its labels: a dot or a backslash within a label is written with a backslash before it. */
export function encodeAnyName(name: Name): Buffer {
  if (name === '') return Buffer.from([0]);
  const labels = name.match(/(?:\\.|[^.\\])+/gs) ?? [];
  const parts = labels.map((label) => {
    const octets = Buffer.from(label.replace(/\\(.)/gs, '$1'), 'latin1');
    if (octets.length > 63) throw new WireError(`'${label}' is no label of a domain name`);
    return Buffer.concat([Buffer.from([octets.length]), octets]);
  });
  const whole = Buffer.concat([...parts, Buffer.from([0])]);
  if (whole.length > 255) throw new WireError('a name of more than 255 octets');
  return whole;
}
