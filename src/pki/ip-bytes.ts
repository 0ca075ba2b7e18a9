// An IP address as the bytes that a certificate's subjectAltName holds.
import { isIPv4, isIPv6 } from 'node:net';

/**
 * 4 bytes for an IPv4 address, 16 for an IPv6 one.
 * @throws Error when the text is no address.
 */
export function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%'))
    throw new Error(`"${address}" is not an IP address; a certificate's ips take plain IPv4 or IPv6 addresses`);
  // The URL parser writes a dotted tail in hexadecimal and shortens in one way only.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
