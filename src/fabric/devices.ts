// The fabric's own devices on a node: their names. Pure.

/** The tunnels of the fabric vxlan. */
export const vxlanName = 'weft-vxlan';

/** The encrypted way to other nodes. */
export const wireguardName = 'weft-wg';

const kinds: Readonly<Record<string, 'vxlan' | 'wireguard'>> = { [vxlanName]: 'vxlan', [wireguardName]: 'wireguard' };

export const deviceNames: readonly string[] = Object.keys(kinds);

/** Whether a link is one that the fabric makes: its name alone does not make it one. */
export function isOwnDevice({ name, kind }: { readonly name: string; readonly kind?: string }): boolean {
  return kind !== undefined && kinds[name] === kind;
}
