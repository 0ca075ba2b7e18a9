// Kubernetes' protobuf encoding of objects, by tables: what kubectl 1.32 and newer and Go clients send.
// Form: the magic bytes `k8s\0`, then runtime.Unknown, whose `raw` is the kind's proto2 message
// (apimachinery pkg/runtime/serializer/protobuf, pkg/runtime/generated.proto).
import protobufFile from '../generated/protobuf.json' with { type: 'json' };
import { badRequest } from './errors.ts';
import { fieldsOf, isFields } from './node.ts';

interface FieldRow {
  readonly number: number;
  readonly type?: string;
  readonly repeated?: boolean;
  readonly map?: readonly string[];
}

type Message = ReadonlyMap<number, Field>;

interface Field {
  readonly name: string;
  readonly type: string;
  readonly repeated: boolean;
  readonly mapOf: string | undefined;
  /** The message's fields stand among those of the message around it (Go's embedded structs). */
  readonly embedded: boolean;
}

const tables: Readonly<Record<string, Readonly<Record<string, FieldRow>>>> = protobufFile as Readonly<
  Record<string, Readonly<Record<string, FieldRow>>>
>;

const unknownMessage = 'k8s.io.apimachinery.pkg.runtime.Unknown';
const embeddedFields = new Set([
  'localObjectReference',
  'ephemeralContainerCommon',
  'handler',
  'volumeSource',
  'ingressRuleValue',
]);
const renamed: Readonly<Record<string, string>> = { uID: 'uid', aPIGroup: 'apiGroup' };

/**
 * Numbers and flags that are no pointers in Go: they are always on the wire, and zero means absent. Others
 * (`replicas`, `runAsUser`, `gracePeriodSeconds` …) are pointers, for which zero is a value.
 */
const zeroMeansAbsent = new Set([
  ...['minReadySeconds', 'paused', 'readOnly', 'stdin', 'stdinOnce', 'tty', 'containerPort', 'hostPort', 'signal'],
  ...['count', 'unschedulable', 'observedGeneration', 'hostIPC', 'hostNetwork', 'hostPID', 'failureThreshold'],
  ...['initialDelaySeconds', 'periodSeconds', 'successThreshold', 'timeoutSeconds', 'nodePort', 'healthCheckNodePort'],
  ...['publishNotReadyAddresses', 'deprecatedCount', 'generation', 'retryAfterSeconds', 'number', 'maxSkew'],
]);

const messages = new Map<string, Message>();

function messageOf(name: string): Message | undefined {
  const known = messages.get(name);
  if (known) return known;
  const table = tables[name];
  if (!table) return undefined;
  const home = name.slice(0, name.lastIndexOf('.') + 1);
  const resolve = (type: string): string => {
    const whole = type.replace(/^\./, '');
    return tables[`${home}${whole}`] ? `${home}${whole}` : whole;
  };
  const message = new Map<number, Field>();
  for (const [name, row] of Object.entries(table)) {
    message.set(row.number, {
      name: renamed[name] ?? name,
      type: resolve(row.type ?? 'map'),
      repeated: row.repeated ?? false,
      mapOf: row.map?.[1] === undefined ? undefined : resolve(row.map[1]),
      embedded: embeddedFields.has(name),
    });
  }
  messages.set(name, message);
  return message;
}

class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.at = 0;
    this.end = bytes.length;
  }

  /** Up to 53 bits are exact; a negative int64 comes out negative. */
  varint(): number {
    let value = 0;
    let factor = 1;
    const start = this.at;
    for (;;) {
      const byte = this.bytes[this.at++];
      if (byte === undefined || this.at - start > 10)
        throw badRequest('unable to decode: protobuf: unexpected end of a number');
      if (this.at - start === 10) return this.#negative(start);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  }

  #negative(start: number): number {
    let value = 0n;
    for (let i = 0; i < 10; i++) value |= BigInt((this.bytes[start + i] ?? 0) & 0x7f) << BigInt(7 * i);
    return Number(BigInt.asIntN(64, value));
  }

  part(): Buffer {
    const length = this.varint();
    const start = this.at;
    if (length < 0 || start + length > this.end) throw badRequest('unable to decode: protobuf: unexpected EOF');
    this.at = start + length;
    return this.bytes.subarray(start, this.at);
  }

  skip(wire: number): void {
    if (wire === 0) this.varint();
    else if (wire === 1) this.at += 8;
    else if (wire === 2) this.part();
    else if (wire === 5) this.at += 4;
    else throw badRequest(`unable to decode: protobuf: illegal wireType ${wire}`);
  }
}

type Target = Record<string, unknown>;

const dot = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

function readMessage(bytes: Buffer, name: string, target: Target = {}): Target {
  const message = messageOf(name);
  if (!message) throw badRequest(`unable to decode: no protobuf form of ${dot(name)} is known here; send JSON`);
  const reader = new Reader(bytes);
  while (reader.at < reader.end) {
    const tag = reader.varint();
    const wire = tag % 8;
    const field = message.get(Math.floor(tag / 8));
    if (!field || (wire !== 0 && wire !== 2)) {
      reader.skip(wire);
      continue;
    }
    readField(reader, wire, field, target);
  }
  return target;
}

function readField(reader: Reader, wire: number, field: Field, target: Target): void {
  if (wire === 0) {
    const number = reader.varint();
    if (number === 0 && zeroMeansAbsent.has(field.name) && !field.repeated) return;
    store(target, field, field.type === 'bool' ? number !== 0 : number);
    return;
  }
  const part = reader.part();
  if (field.mapOf !== undefined) {
    const [key, value] = readEntry(part, field.mapOf);
    const map = target[field.name];
    if (isFields(map)) map[key] = value;
    else target[field.name] = { [key]: value };
    return;
  }
  if (field.embedded) {
    readMessage(part, field.type, target);
    return;
  }
  const value = readValue(part, field.type);
  if ((value === '' && !field.repeated) || value === undefined) return;
  store(target, field, value);
}

function store(target: Target, field: Field, value: unknown): void {
  if (!field.repeated) {
    target[field.name] = value;
    return;
  }
  const list = target[field.name];
  if (Array.isArray(list)) list.push(value);
  else target[field.name] = [value];
}

/** A value of length-delimited form: text, bytes, or a message of its own. */
function readValue(part: Buffer, type: string): unknown {
  switch (type) {
    case 'string':
      return part.toString('utf8');
    case 'bytes':
      return part.toString('base64');
  }
  switch (dot(type)) {
    case 'Time':
      return readTime(part, 0);
    case 'MicroTime':
      return readTime(part, 6);
    case 'Quantity':
      return readPlain(part, type).string ?? '0';
    case 'IntOrString': {
      const { type: kind = 0, intVal = 0, strVal = '' } = readPlain(part, type);
      return kind === 0 ? intVal : strVal;
    }
    case 'FieldsV1':
    case 'RawExtension': {
      const { Raw, raw = Raw } = readPlain(part, type);
      return typeof raw === 'string' ? readJson(Buffer.from(raw, 'base64')) : undefined;
    }
    case 'ExtraValue':
    case 'Verbs':
      return readPlain(part, type).items ?? [];
    default:
      return readMessage(part, type);
  }
}

/** A message whose own fields are read as they are. */
function readPlain(part: Buffer, type: string): Target {
  return readMessage(part, type);
}

function readJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw badRequest('unable to decode: a free-form field of the protobuf message does not hold JSON');
  }
}

/** RFC 3339 with so many digits of a second; undefined for Go's zero time, which is an empty message. */
function readTime(part: Buffer, digits: number): string | undefined {
  if (part.length === 0) return undefined;
  const { seconds = 0, nanos = 0 } = readPlain(part, 'k8s.io.apimachinery.pkg.apis.meta.v1.Time');
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime())) throw badRequest('unable to decode: protobuf: a time is out of range');
  const text = date.toISOString().slice(0, 19);
  return digits === 0 ? `${text}Z` : `${text}.${String(nanos).padStart(9, '0').slice(0, digits)}Z`;
}

function readEntry(part: Buffer, valueType: string): [string, unknown] {
  const reader = new Reader(part);
  let key = '';
  let value: unknown = valueType === 'string' || valueType === 'bytes' ? '' : undefined;
  while (reader.at < reader.end) {
    const tag = reader.varint();
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire !== 2) value = wire === 0 ? reader.varint() : reader.skip(wire);
    else if (number === 1) key = reader.part().toString('utf8');
    else value = readValue(reader.part(), valueType);
  }
  if (key === '__proto__') throw badRequest('unable to decode: the field name "__proto__" is not supported');
  return [key, value ?? readValue(Buffer.alloc(0), valueType)];
}

const groupPackages: Readonly<Record<string, string>> = {
  '': 'core',
  'coordination.k8s.io': 'coordination',
  'discovery.k8s.io': 'discovery',
  'events.k8s.io': 'events',
  'networking.k8s.io': 'networking',
  'rbac.authorization.k8s.io': 'rbac',
  'authentication.k8s.io': 'authentication',
  'authorization.k8s.io': 'authorization',
};

/** The message of a kind: `k8s.io.api.apps.v1.Deployment`; the options of requests have their own package. */
function messageName(apiVersion: string, kind: string): string {
  if (['DeleteOptions', 'Status'].includes(kind)) return `k8s.io.apimachinery.pkg.apis.meta.v1.${kind}`;
  const slash = apiVersion.indexOf('/');
  const [group, version] = slash < 0 ? ['', apiVersion] : [apiVersion.slice(0, slash), apiVersion.slice(slash + 1)];
  return `k8s.io.api.${groupPackages[group] ?? group}.${version}.${kind}`;
}

/** Whether the bytes begin as Kubernetes' protobuf form does. */
function isKubernetesProtobuf(body: Buffer): boolean {
  return body.length >= 4 && body.readUInt32BE(0) === 0x6b387300;
}

/** The object of a protobuf body, as its JSON would be; a 400 StatusError where it cannot be read. */
export function decodeProtobuf(body: Buffer): Record<string, unknown> {
  if (!isKubernetesProtobuf(body)) {
    throw badRequest(
      'unable to decode: provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]',
    );
  }
  const { typeMeta, raw = '' } = readMessage(body.subarray(4), unknownMessage);
  const { apiVersion = '', kind = '' } = fieldsOf(typeMeta);
  if (typeof kind !== 'string' || typeof apiVersion !== 'string' || kind === '')
    throw badRequest("unable to decode: Object 'Kind' is missing in a protobuf message");
  const object = readMessage(Buffer.from(String(raw), 'base64'), messageName(apiVersion, kind), { kind, apiVersion });
  return object;
}
