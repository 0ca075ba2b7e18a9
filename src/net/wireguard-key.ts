// Keys of WireGuard as typed values: 32 bytes in base64, as wg(8) prints them. Pure.

declare const wireguardKey: unique symbol;

/** A key of WireGuard, public or private, in base64. */
export type WireguardKey = string & { readonly [wireguardKey]: true };

/** The key, or undefined where the text is not 32 bytes in canonical base64. */
export function parseWireguardKey(text: string): WireguardKey | undefined {
  return /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text) ? (text as WireguardKey) : undefined;
}

export function keyFromBytes(bytes: Buffer): WireguardKey {
  if (bytes.length !== 32) throw new RangeError(`a key of WireGuard has 32 bytes, not ${bytes.length}`);
  return bytes.toString('base64') as WireguardKey;
}

export function keyBytes(key: WireguardKey): Buffer {
  return Buffer.from(key, 'base64');
}
