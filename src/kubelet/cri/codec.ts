// Protocol Buffers on the wire, driven by the tables of protocol.ts. An own codec of this size, because reflection
// libraries cost 40 ms and several megabytes in each node's agent. https://protobuf.dev/programming-guides/encoding/
import { enums, type Message, type MessageName, messages, type Request } from './protocol.ts';

type Field = readonly [type: string, number: number];
type FieldTable = Readonly<Record<string, Field>>;

const varint = 0;
const fixed64 = 1;
const lengthDelimited = 2;
const fixed32 = 5;

function fieldsOf(name: string): FieldTable | undefined {
  return (messages as Readonly<Record<string, FieldTable>>)[name];
}

function enumOf(name: string): readonly string[] | undefined {
  return (enums as Readonly<Record<string, readonly string[]>>)[name];
}

/** The bytes of a message. Throws a TypeError where a value does not fit its field. */
export function encode<N extends MessageName>(name: N, message: Request<N>): Buffer {
  return encodeFields(fieldsOf(name) ?? {}, message as Readonly<Record<string, unknown>>);
}

function encodeFields(fields: FieldTable, message: Readonly<Record<string, unknown>>): Buffer {
  const out: Buffer[] = [];
  for (const [key, [type, number]] of Object.entries(fields)) {
    const value = message[key];
    if (value === undefined || value === null) continue;
    if (type === 'map') {
      for (const [entry, text] of Object.entries(value))
        out.push(
          delimited(number, Buffer.concat([delimited(1, Buffer.from(entry)), delimited(2, Buffer.from(String(text)))])),
        );
    } else if (type.endsWith('[]')) {
      if (!Array.isArray(value)) throw new TypeError(`${key} is not a list`);
      for (const item of value) out.push(encodeValue(key, type.slice(0, -2), number, item));
    } else if (value !== 0 && value !== '' && value !== false) {
      out.push(encodeValue(key, type, number, value));
    }
  }
  return out.length === 1 ? (out[0] ?? Buffer.alloc(0)) : Buffer.concat(out);
}

function encodeValue(key: string, type: string, number: number, value: unknown): Buffer {
  const wrong = (): never => {
    throw new TypeError(`${key}: ${JSON.stringify(value)} is not a ${type}`);
  };
  switch (type) {
    case 'string':
      return delimited(number, Buffer.from(typeof value === 'string' ? value : wrong()));
    case 'bytes':
      return delimited(number, Buffer.isBuffer(value) ? value : wrong());
    case 'bool':
      return numeric(number, value === true ? 1n : 0n);
    case 'int32':
    case 'int64':
    case 'uint32':
    case 'uint64':
      return numeric(number, BigInt.asUintN(64, BigInt(Number.isInteger(value) ? Number(value) : wrong())));
  }
  const names = enumOf(type);
  if (names !== undefined) {
    const index = names.indexOf(String(value));
    return numeric(number, BigInt(index < 0 ? wrong() : index));
  }
  if (typeof value !== 'object' || value === null) return wrong();
  return delimited(number, encodeFields(fieldsOf(type) ?? {}, { ...value }));
}

function numeric(number: number, value: bigint): Buffer {
  return Buffer.from([...bytesOfVarint(BigInt((number << 3) | varint)), ...bytesOfVarint(value)]);
}

function delimited(number: number, body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([...bytesOfVarint(BigInt((number << 3) | lengthDelimited)), ...bytesOfVarint(BigInt(body.length))]),
    body,
  ]);
}

function bytesOfVarint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

/** The message in the bytes; fields that the table does not have are passed over. Throws a RangeError on broken bytes. */
export function decode<N extends MessageName>(name: N, bytes: Buffer): Message<N> {
  // The table that drives the decoding is the one that the type is computed from.
  return decodeFields(name, bytes) as unknown as Message<N>;
}

function zeroOf(type: string): unknown {
  if (type.endsWith('[]')) return [];
  if (type === 'map') return {};
  if (type === 'string') return '';
  if (type === 'bool') return false;
  if (type === 'bytes') return Buffer.alloc(0);
  if (type === 'int32' || type === 'int64' || type === 'uint32' || type === 'uint64') return 0;
  return enumOf(type)?.[0] ?? null;
}

function decodeFields(name: string, bytes: Buffer): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const byNumber = new Map<number, [key: string, type: string]>();
  for (const [key, [type, number]] of Object.entries(fieldsOf(name) ?? {})) {
    result[key] = zeroOf(type);
    byNumber.set(number, [key, type]);
  }
  const reader = new Reader(bytes);
  while (!reader.atEnd) {
    const tag = Number(reader.varint());
    const field = byNumber.get(tag >>> 3);
    if (field === undefined) reader.skip(tag & 7);
    else decodeInto(result, field[0], field[1], tag & 7, reader);
  }
  return result;
}

function decodeInto(result: Record<string, unknown>, key: string, type: string, wire: number, reader: Reader): void {
  if (type === 'map') {
    const entry = decodeFields('KeyValue', reader.bytes());
    result[key] = { ...(result[key] as object), [String(entry.key)]: entry.value };
    return;
  }
  if (!type.endsWith('[]')) {
    result[key] = decodeValue(type, reader);
    return;
  }
  const list = result[key] as unknown[];
  const item = type.slice(0, -2);
  const scalar = item !== 'string' && item !== 'bytes' && fieldsOf(item) === undefined;
  if (scalar && wire === lengthDelimited) {
    const packed = new Reader(reader.bytes());
    while (!packed.atEnd) list.push(decodeValue(item, packed));
  } else list.push(decodeValue(item, reader));
}

function decodeValue(type: string, reader: Reader): unknown {
  switch (type) {
    case 'string':
      return reader.bytes().toString('utf8');
    case 'bytes':
      return Buffer.from(reader.bytes());
    case 'bool':
      return reader.varint() !== 0n;
    case 'int32':
      return Number(BigInt.asIntN(32, reader.varint()));
    case 'int64':
      return Number(BigInt.asIntN(64, reader.varint()));
    case 'uint32':
    case 'uint64':
      return Number(reader.varint());
  }
  const names = enumOf(type);
  if (names === undefined) return decodeFields(type, reader.bytes());
  return names[Number(reader.varint())] ?? names[0];
}

class Reader {
  private offset = 0;
  private readonly buffer: Buffer;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  get atEnd(): boolean {
    return this.offset >= this.buffer.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.buffer[this.offset++];
      if (byte === undefined) throw new RangeError('a protobuf message ends within a number');
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
    throw new RangeError('a protobuf message has a number of more than ten bytes');
  }

  bytes(): Buffer {
    const length = Number(this.varint());
    const end = this.offset + length;
    if (end > this.buffer.length) throw new RangeError('a protobuf message ends within a field');
    const part = this.buffer.subarray(this.offset, end);
    this.offset = end;
    return part;
  }

  skip(wire: number): void {
    if (wire === varint) this.varint();
    else if (wire === lengthDelimited) this.bytes();
    else if (wire === fixed64) this.offset += 8;
    else if (wire === fixed32) this.offset += 4;
    else throw new RangeError(`a protobuf message has the unknown wire type ${wire}`);
  }
}
