// The canonical text of values that Kubernetes writes in one way however they were given: quantities, times, bytes.
import { parseQuantity } from '../../k8s/quantity.ts';

const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const nanoInOne = 1_000_000_000n;

/**
 * The canonical form of a quantity (apimachinery `Quantity.String`): the largest suffix of its own family that needs
 * no fraction. `1000m` is `1`, `0.5` is `500m`, `1024Mi` is `1Gi`. Undefined where the text is no quantity.
 */
export function canonicalQuantity(text: string): string | undefined {
  if (/^(0|[1-9]\d{0,2})$/.test(text)) return text;
  const amount = parseQuantity(text);
  if (amount === undefined) return undefined;
  if (amount === 0n) return '0';
  if (/[KMGTPE]i$/.test(text) && (amount >= 1024n * nanoInOne || amount <= -1024n * nanoInOne)) return binary(amount);
  const power = factor(amount, 1000n, decimalSuffixes.length - 1);
  const mantissa = amount / 1000n ** BigInt(power);
  if (/[eE][+-]?\d+$/.test(text)) return power === 3 ? `${mantissa}` : `${mantissa}e${(power - 3) * 3}`;
  return `${mantissa}${decimalSuffixes[power] ?? ''}`;
}

function binary(amount: bigint): string {
  const whole = amount / nanoInOne + (amount % nanoInOne > 0n ? 1n : 0n);
  const power = factor(whole, 1024n, binarySuffixes.length - 1);
  return `${whole / 1024n ** BigInt(power)}${binarySuffixes[power] ?? ''}`;
}

/** How often the number can be divided by the base without a rest, at most `limit` times. */
function factor(number: bigint, base: bigint, limit: number): number {
  let power = 0;
  for (let rest = number; power < limit && rest % base === 0n; rest /= base) power++;
  return power;
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** The time in UTC with so many digits of a second (0 or 6); undefined where the text is no RFC 3339 time. */
export function canonicalTime(text: string, digits: 0 | 6): string | undefined {
  const match = rfc3339.exec(text);
  if (!match) return undefined;
  const time = Date.parse(text.toUpperCase());
  if (Number.isNaN(time)) return undefined;
  const seconds = new Date(time).toISOString().slice(0, 19);
  if (digits === 0) return `${seconds}Z`;
  return `${seconds}.${(match[1] ?? '.').slice(1).padEnd(digits, '0').slice(0, digits)}Z`;
}

/** Base64 without line breaks; otherwise the position of the first byte that does not belong there. */
export function canonicalBase64(text: string): { text: string } | { badByte: number } {
  const compact = text.replace(/[\r\n]/g, '');
  if (compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return { text: compact };
  const bad = text.search(/[^A-Za-z0-9+/=\r\n]/);
  return { badByte: bad >= 0 ? bad : text.length - (compact.length % 4) };
}
