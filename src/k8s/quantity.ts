// Quantities of resources ("500m", "1.5Gi", "2e3") as exact numbers (apimachinery pkg/api/resource).

/** An exact amount in units of 10⁻⁹: "1" is 1_000_000_000n. Comparing and adding are those of bigint. */
export type Nano = bigint;

const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binary: Readonly<Record<string, bigint>> = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n };
const pattern = /^([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:([eE][+-]?\d{1,3})|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?$/;

/** The amount, or undefined where the text is not a quantity. Finer than 10⁻⁹ is rounded up, as upstream does. */
export function parseQuantity(text: string): Nano | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, sign, digits = '', exponent, suffix = ''] = match;
  const [whole = '', fraction = ''] = digits.split('.');
  const shift = binary[suffix];
  const power = exponent === undefined ? (decimal[suffix] ?? 0) : Number(exponent.slice(1));
  let value = BigInt(`${whole}${fraction}` || '0');
  let scale = 9 - fraction.length + power;
  if (shift !== undefined) {
    value <<= shift;
    scale = 9 - fraction.length;
  }
  const nano = scale >= 0 ? value * 10n ** BigInt(scale) : divideUp(value, 10n ** BigInt(-scale));
  return sign === '-' ? -nano : nano;
}

/** As {@link parseQuantity}; throws a RangeError that names the text. Numbers are read as their text. */
export function asQuantity(text: string | number): Nano {
  const parsed = parseQuantity(String(text));
  if (parsed === undefined)
    throw new RangeError(
      `'${text}': quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`,
    );
  return parsed;
}

/** Negative, zero or positive, as a comparator of sort. */
export function compareQuantities(a: string, b: string): number {
  const [left, right] = [asQuantity(a), asQuantity(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The sum in the shortest decimal form. */
export function addQuantities(...texts: readonly string[]): string {
  return formatQuantity(texts.reduce((sum, text) => sum + asQuantity(text), 0n));
}

/** The amount as a whole number of thousandths (cpu), rounded up. */
export function toMilli(amount: Nano): number {
  return Number(divideUp(amount, 1_000_000n));
}

/** The amount as a whole number (bytes, pods), rounded up. */
export function toWhole(amount: Nano): number {
  return Number(divideUp(amount, 1_000_000_000n));
}

const suffixes = [
  [1_000_000_000n, ''],
  [1_000_000n, 'm'],
  [1_000n, 'u'],
  [1n, 'n'],
] as const;

/** Without a suffix where it is whole; otherwise in the largest of m, u and n that is exact. */
export function formatQuantity(amount: Nano): string {
  for (const [unit, suffix] of suffixes) if (amount % unit === 0n) return `${amount / unit}${suffix}`;
  return `${amount}n`;
}

/** In the largest binary suffix that is exact ("16Gi"), as nodes report memory; for whole amounts. */
export function formatBinary(amount: Nano): string {
  const whole = BigInt(toWhole(amount));
  const fitting = Object.entries(binary).findLast(([, shift]) => whole !== 0n && whole % (1n << shift) === 0n);
  return fitting === undefined ? String(whole) : `${whole >> fitting[1]}${fitting[0]}`;
}

function divideUp(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by > 0n ? quotient + 1n : quotient;
}
