// DER (ITU-T X.690): writing the few ASN.1 types that an X.509 certificate needs, and stepping through one.

/** Tags of the types used here; 0x80 and up with a number are context-specific. */
const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element: its tag, its length in the shortest form, its content. */
export function element(tagByte: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tagByte, body.length]), body]);
  const bytes: number[] = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tagByte, 0x80 | bytes.length, ...bytes]), body]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => element(tag.sequence, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => element(tag.set, ...items);
export const octets = (content: Uint8Array): Buffer => element(tag.octetString, content);
export const utf8 = (text: string): Buffer => element(tag.utf8String, Buffer.from(text));
export const boolean = (value: boolean): Buffer => element(tag.boolean, Buffer.from([value ? 0xff : 0]));

/** A non-negative integer from its big-endian bytes: without leading zeros, with one where the sign bit is set. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const shortest = bytes.subarray(start);
  return element(tag.integer, ((shortest[0] ?? 0) & 0x80) !== 0 ? Buffer.from([0]) : Buffer.alloc(0), shortest);
}

/** A string of bits; `unused` bits at its end do not count. */
export const bits = (content: Uint8Array, unused = 0): Buffer => element(tag.bitString, Buffer.from([unused]), content);

/** An object identifier from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc & 0x7f];
    for (let more = Math.floor(arc / 128); more > 0; more = Math.floor(more / 128))
      groups.unshift((more & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return element(tag.oid, Buffer.from(bytes));
}

/** A moment, to the second: UTCTime until 2049 and GeneralizedTime after it, as RFC 5280 section 4.1.2.5 demands. */
export function time(moment: Date): Buffer {
  const digits = moment.toISOString().replace(/\.\d+|[-:T]/g, '');
  return moment.getUTCFullYear() < 2050
    ? element(tag.utcTime, Buffer.from(digits.slice(2)))
    : element(tag.generalizedTime, Buffer.from(digits));
}

/**
 * The elements inside a constructed element, each whole (with tag and length).
 * @throws RangeError where a length goes beyond the data.
 */
export function children(constructed: Uint8Array): Buffer[] {
  const data = Buffer.from(constructed.buffer, constructed.byteOffset, constructed.byteLength);
  const items: Buffer[] = [];
  let at = header(data, 0).start;
  while (at < data.length) {
    const { start, length } = header(data, at);
    if (start + length > data.length) throw new RangeError('the DER data is cut off');
    items.push(data.subarray(at, start + length));
    at = start + length;
  }
  return items;
}

function header(data: Buffer, at: number): { start: number; length: number } {
  const first = data.readUInt8(at + 1);
  if (first < 0x80) return { start: at + 2, length: first };
  const count = first & 0x7f;
  return { start: at + 2 + count, length: data.readUIntBE(at + 2, count) };
}
