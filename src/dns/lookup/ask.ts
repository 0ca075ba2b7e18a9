// One question over UDP from inside of a network namespace, and what the answer says.
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { openDatagramSocket } from '../../linux/datagrams.ts';
import { inNetns } from '../../linux/netns.ts';
import { asIp, formatIp } from '../../net/address.ts';
import { rcodeName, typeName } from '../corefile/values.ts';
import { type PlainRecord, readPlainRecords } from '../message.ts';
import { questionEnd, readHeader, readName, readRecords, writeQuery } from '../wire.ts';

/** An answer in words. */
export interface AskedAnswer {
  readonly rcode: string;
  /** `10.96.0.10`, `web.example.org`, `10 5 80 web…`; each with its type and how long it may be kept, in s. */
  readonly records: readonly {
    readonly name: string;
    readonly type: string;
    readonly ttl: number;
    readonly data: string;
  }[];
  readonly authoritative: boolean;
  readonly truncated: boolean;
  /** Extended errors (RFC 8914). */
  readonly explanations: readonly string[];
  readonly milliseconds: number;
}

const timeoutMs = 5000;

/** Asks a server; rejects with an Error of one line when no answer comes within 5 s. */
export function ask(netns: string, server: string, name: string, type: number): Promise<AskedAnswer> {
  const any = asIp(isIPv6(server) ? '::' : '0.0.0.0');
  const fd = inNetns(netns, () => openDatagramSocket({ address: any, port: 0 }));
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  return new Promise((resolve, reject) => {
    const query = writeQuery(Math.floor(Math.random() * 0x10000), name.toLowerCase(), type);
    const begin = performance.now();
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      socket.close();
      finish();
    };
    const timer = setTimeout(() => end(() => reject(new Error(`${server} does not answer within 5 s`))), timeoutMs);
    socket.on('error', (error) => end(() => reject(new Error(`${server} cannot be asked: ${error.message}`))));
    socket.on('message', (message) => {
      if (readHeader(message)?.id !== query.readUInt16BE(0)) return;
      const took = performance.now() - begin;
      end(() => {
        try {
          resolve(readAnswer(message, took));
        } catch (error) {
          reject(error);
        }
      });
    });
    socket.bind({ fd }, () => socket.send(query, 53, server));
  });
}

function readAnswer(message: Buffer, took: number): AskedAnswer {
  const header = readHeader(message);
  if (header === undefined) throw new Error('the answer is shorter than its header');
  const start = questionEnd(message);
  const additional = readRecords(message, start, header.answers + header.authorities + header.additionals);
  const opt = additional.find(({ type }) => type === 41);
  return {
    rcode: rcodeName((header.flags & 0xf) | (((opt?.ttl ?? 0) >>> 24) << 4)),
    records: readPlainRecords(message, start, header.answers).map((record) => ({
      name: record.name,
      type: typeName(record.type),
      ttl: record.ttl,
      data: dataText(record),
    })),
    authoritative: (header.flags & 0x0400) !== 0,
    truncated: (header.flags & 0x0200) !== 0,
    explanations: opt === undefined ? [] : readExplanations(opt.data),
    milliseconds: Math.round(took * 100) / 100,
  };
}

function readExplanations(options: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at + 4 <= options.length; at += 4 + options.readUInt16BE(at + 2)) {
    const length = options.readUInt16BE(at + 2);
    if (options.readUInt16BE(at) === 15 && length > 2) found.push(options.toString('utf8', at + 6, at + 4 + length));
  }
  return found;
}

/** The data of a record as `dig` writes it; octets of types that are not known here (RFC 3597). */
function dataText({ type, data }: PlainRecord): string {
  const nameAt = (start: number): string => `${readName(data, start).name}.`;
  switch (type) {
    case 1:
      return formatIp(BigInt(`0x${data.toString('hex')}`), 'IPv4');
    case 28:
      return formatIp(BigInt(`0x${data.toString('hex')}`), 'IPv6');
    case 2:
    case 5:
    case 12:
      return nameAt(0);
    case 15:
      return `${data.readUInt16BE(0)} ${nameAt(2)}`;
    case 33:
      return `${data.readUInt16BE(0)} ${data.readUInt16BE(2)} ${data.readUInt16BE(4)} ${nameAt(6)}`;
    case 16:
      return readStrings(data);
    case 6: {
      const first = readName(data, 0);
      const second = readName(data, first.end);
      return `${first.name}. ${second.name}. ${data.readUInt32BE(second.end)}`;
    }
    default:
      return `\\# ${data.length} ${data.toString('hex')}`;
  }
}

function readStrings(data: Buffer): string {
  const parts: string[] = [];
  for (let at = 0; at < data.length; at += 1 + (data[at] ?? 0))
    parts.push(JSON.stringify(data.toString('utf8', at + 1, at + 1 + (data[at] ?? 0))));
  return parts.join(' ');
}
