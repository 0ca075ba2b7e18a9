// The key pair of a node for WireGuard: made on the node, kept in a file that root alone reads, never told to anybody.
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { keyBytes, keyFromBytes, parseWireguardKey, type WireguardKey } from '../net/wireguard-key.ts';

export interface NodeKey {
  readonly privateKey: WireguardKey;
  readonly publicKey: WireguardKey;
}

/** What goes before the 32 bytes of an X25519 private key in PKCS #8 (RFC 8410). */
const pkcs8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** The key pair in the file; undefined where there is none, or what is there is no key. Throws for other failures. */
export function readNodeKey(file: string): NodeKey | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const privateKey = parseWireguardKey(text.trim());
  return privateKey === undefined ? undefined : { privateKey, publicKey: publicKeyOf(privateKey) };
}

/** Makes a key pair and writes it, whole or not at all, as wg(8) writes keys: the private one in base64. */
export function makeNodeKey(file: string): NodeKey {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d = '' } = privateKey.export({ format: 'jwk' });
  const key = keyFromBytes(Buffer.from(d, 'base64url'));
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.new`;
  writeFileSync(fresh, `${key}\n`, { mode: 0o600, flush: true });
  renameSync(fresh, file);
  return { privateKey: key, publicKey: publicKeyOf(key) };
}

function publicKeyOf(privateKey: WireguardKey): WireguardKey {
  const der = Buffer.concat([pkcs8, keyBytes(privateKey)]);
  const { x = '' } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({
    format: 'jwk',
  });
  return keyFromBytes(Buffer.from(x, 'base64url'));
}
