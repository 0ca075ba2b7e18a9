// Reads the elements of a set from what `nft --json` prints. Pure; what is not understood is left out.
import { parseIp } from '../net/address.ts';
import { type Element, type ElementText, elementKey } from './nft.ts';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const field = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined);

/** The elements that the text lists for a set or map whose parts are addresses, protocols, numbers and classes. */
export function readElements(set: string, text: string): Element[] {
  const listing = field(JSON.parse(text), 'nftables');
  const found = (Array.isArray(listing) ? listing : [])
    .map((entry) => field(entry, 'map') ?? field(entry, 'set'))
    .find((entry) => field(entry, 'name') === set);
  const elements = field(found, 'elem');
  return (Array.isArray(elements) ? elements : []).flatMap((entry) => readElement(set, entry) ?? []);
}

function readElement(set: string, entry: unknown): Element | undefined {
  const [left, right] = Array.isArray(entry) ? entry : [entry, undefined];
  const attributes = field(left, 'elem') ?? left;
  const key = readValue(field(attributes, 'val') ?? attributes);
  const value = right === undefined ? undefined : readValue(right);
  const [timeout, expires] = [field(attributes, 'timeout'), field(attributes, 'expires')];
  if (key === undefined || (right !== undefined && value === undefined)) return undefined;
  return {
    set,
    key,
    ...(value === undefined ? {} : { value }),
    ...(typeof timeout === 'number' && typeof expires === 'number' ? { lifetime: { timeout, expires } } : {}),
  };
}

/** A class of packets: two halves of a number of 32 bits. */
function readClass(text: string): { readonly class: number } | undefined {
  const [, major = '', minor = ''] = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text) ?? [];
  return major === '' ? undefined : { class: Number.parseInt(major, 16) * 0x10000 + Number.parseInt(minor, 16) };
}

function readValue(value: unknown): ElementText | undefined {
  const concat = field(value, 'concat');
  const parts = (Array.isArray(concat) ? concat : [value]).map((part: unknown) => {
    if (typeof part === 'number' || part === 'tcp' || part === 'udp' || part === 'sctp') return part;
    if (typeof part !== 'string') return undefined;
    return parseIp(part) ?? readClass(part);
  });
  const known = parts.filter((part) => part !== undefined);
  return known.length === parts.length ? elementKey(...known) : undefined;
}
