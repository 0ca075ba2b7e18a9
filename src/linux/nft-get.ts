// Reads elements of nftables in a network namespace: single ones with their counters, or all of one set. The kernel is asked itself: nft(8)
// reads all elements of all tables first, and begins anew whenever somebody writes meanwhile.
import { failedWith } from './libc.ts';
import { attribute, Netlink, nested, parseAttributes, parseList, readText, text } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import type { NetnsRef } from './netns.ts';
import { type Element, type ElementText, elementVerdict, type SetDefinition, type TableName } from './nft.ts';
import {
  dataAttribute,
  elementAttribute,
  familyNumbers,
  listAttribute,
  listItem,
  nftMessage,
  nftSubsystem,
  verdictAttribute,
  verdictCodes,
} from './nft-batch.ts';
import { lengthOf, readParts, type WireSet, wireSet, writeParts } from './nft-wire.ts';

/** An element as the kernel has it. */
export interface HeldElement {
  /** As the text of elements is, numbers in decimal; absent in a set. */
  readonly value?: ElementText;
  /** What met the element, where it counts. */
  readonly packets?: number;
  readonly bytes?: number;
}

const expressionAttribute = { name: 1, data: 2 };
const counterAttribute = { bytes: 1, packets: 2 };

/** The elements with these keys, in their order; undefined for one that is not there (nor its set). */
export function getElements(
  netns: NetnsRef,
  table: TableName,
  definition: SetDefinition,
  keys: readonly ElementText[],
): (HeldElement | undefined)[] {
  const set = wireSet(definition);
  if (set === undefined) throw new Error(`elements of the set ${definition.name} cannot be looked up one by one`);
  using netlink = Netlink.open(netns, netfilterProtocol);
  return keys.map((key) => {
    try {
      return getElement(netlink, table, set, key);
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return undefined;
      throw error;
    }
  });
}

function getElement(netlink: Netlink, { family, name }: TableName, set: WireSet, key: ElementText): HeldElement {
  const wrapped = (last: boolean): Buffer => {
    const bytes = Buffer.alloc(lengthOf(set.key));
    writeParts(bytes, 0, set.key, key, last);
    return attribute(dataAttribute.value, bytes);
  };
  const ends = set.hasEnd ? [nested(elementAttribute.keyEnd, [wrapped(true)])] : [];
  const item = nested(listItem, [nested(elementAttribute.key, [wrapped(false)]), ...ends]);
  const [answer] = netlink.query({
    type: (nftSubsystem << 8) | nftMessage.getElements,
    body: Buffer.from([familyNumbers[family], 0, 0, 0]),
    attributes: [
      text(listAttribute.table, name),
      text(listAttribute.set, set.name),
      nested(listAttribute.elements, [item]),
    ],
    what: `looking for the element { ${key} }, set ${set.name} of the table ${family} ${name}`,
  });
  const list = answer === undefined ? noBytes : within(answer.body.subarray(4), listAttribute.elements);
  return readElement(set, within(list, listItem));
}

/** All elements of one set, with how long they live; none where it is not there. */
export function listElements(netns: NetnsRef | undefined, table: TableName, definition: SetDefinition): Element[] {
  const set = wireSet(definition);
  if (set === undefined) throw new Error(`elements of the set ${definition.name} cannot be listed`);
  using netlink = Netlink.open(netns, netfilterProtocol);
  try {
    return netlink
      .dump({
        type: (nftSubsystem << 8) | nftMessage.getElements,
        body: Buffer.from([familyNumbers[table.family], 0, 0, 0]),
        attributes: [text(listAttribute.table, table.name), text(listAttribute.set, set.name)],
        what: `listing the set ${set.name} of the table ${table.family} ${table.name}`,
      })
      .flatMap(({ body }) => parseList(within(body.subarray(4), listAttribute.elements)))
      .flatMap((payload) => listedElement(set, payload) ?? []);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Undefined where the key or the value is of no kind that is known. */
function listedElement(set: WireSet, payload: Buffer): Element | undefined {
  const key = readParts(within(within(payload, elementAttribute.key), dataAttribute.value), set.key);
  const { value } = readElement(set, payload);
  if (key === undefined || (value === undefined) !== (set.value === undefined)) return undefined;
  const seconds = (type: number): number | undefined => {
    const ms = parseAttributes(payload).get(type)?.readBigUInt64BE();
    return ms === undefined ? undefined : Math.floor(Number(ms) / 1000);
  };
  const [timeout, expires] = [seconds(elementAttribute.timeout), seconds(elementAttribute.expiration)];
  return {
    set: set.name,
    key,
    ...(value !== undefined && { value }),
    ...(timeout !== undefined && expires !== undefined && { lifetime: { timeout, expires } }),
  };
}

const noBytes = Buffer.alloc(0);
/** The payload of the last attribute of this type; empty where there is none. */
const within = (payload: Buffer, type: number): Buffer => parseAttributes(payload).get(type) ?? noBytes;

function readElement(set: WireSet, payload: Buffer): HeldElement {
  const data = within(payload, elementAttribute.data);
  const value = set.value === 'verdict' ? readVerdict(data) : readValue(set, data);
  const expression = within(payload, elementAttribute.expression);
  const counter =
    readText(parseAttributes(expression).get(expressionAttribute.name)) === 'counter'
      ? parseAttributes(within(expression, expressionAttribute.data))
      : new Map<number, Buffer>();
  const [packets, bytes] = [counter.get(counterAttribute.packets), counter.get(counterAttribute.bytes)];
  return {
    ...(value !== undefined && { value }),
    ...(packets !== undefined && { packets: Number(packets.readBigUInt64BE()) }),
    ...(bytes !== undefined && { bytes: Number(bytes.readBigUInt64BE()) }),
  };
}

function readValue({ value }: WireSet, data: Buffer): ElementText | undefined {
  return value === undefined || value === 'verdict' ? undefined : readParts(within(data, dataAttribute.value), value);
}

function readVerdict(data: Buffer): ElementText | undefined {
  const found = parseAttributes(within(data, dataAttribute.verdict));
  const code = found.get(verdictAttribute.code)?.readInt32BE();
  const chain = readText(found.get(verdictAttribute.chain));
  const verdict = verdicts.find((one) => verdictCodes[one] === code);
  if (verdict === undefined) return undefined;
  if (verdict !== 'goto' && verdict !== 'jump') return elementVerdict({ verdict });
  return chain === undefined ? undefined : elementVerdict({ verdict, chain });
}

const verdicts = ['accept', 'drop', 'return', 'goto', 'jump'] as const;
