// Asks cluster DNS one question, over TCP from inside of a node.
import { connect } from 'node:net';
import type { Family } from '../net/address.ts';
import { dialLine } from './dial.ts';
import { clusterDomain } from './layout.ts';

/** The types of records that hold addresses (RFC 1035 section 3.2.2, RFC 3596 section 2.1). */
const recordType: Readonly<Record<Family, number>> = { IPv4: 1, IPv6: 28 };

/** A question for the address of a name (RFC 1035 section 4), with TCP's two bytes of length before it. */
export function dnsQuery(name: string, family: Family): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')]);
  const header = Buffer.from([0x57, 0x45, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
  const message = Buffer.concat([header, ...labels, Buffer.from([0, 0, recordType[family], 0, 1])]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Whether the bytes are an answer without an error and with at least one record. */
export function isAnswer(bytes: Buffer): boolean {
  if (bytes.length < 14) return false;
  // After the two bytes of length: id, flags (the first bit says response), counts of questions and of answers.
  const flags = bytes.readUInt16BE(4);
  return (flags & 0x8000) !== 0 && (flags & 0x0f) === 0 && bytes.readUInt16BE(8) > 0;
}

/**
 * Whether the DNS server at that address answers for the cluster's own Service, which has an address of that family;
 * asked by way of a dial socket.
 */
export function dnsAnswers(dialSocket: string, server: string, family: Family, timeoutMs = 1000): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(dialSocket);
    let received: Buffer = Buffer.alloc(0);
    const end = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) end(isAnswer(received));
    });
    socket.write(dialLine(server, 53));
    socket.write(dnsQuery(`kubernetes.default.svc.${clusterDomain}`, family));
  });
}
