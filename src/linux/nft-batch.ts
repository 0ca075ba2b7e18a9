// The messages of one nftables transaction, in one buffer as the kernel wants them (linux/netfilter/nfnetlink.h and
// nf_tables.h): between a begin and an end, of which the kernel does all or nothing. Pure.
import type { Element, ElementRun, TableFamily, TableName } from './nft.ts';
import { checkedComment, describeElement, elementsOf } from './nft.ts';
import { lengthOf, type WireSet, writeParts } from './nft-wire.ts';

/** Netfilter's numbers of the families of tables. */
export const familyNumbers: Readonly<Record<TableFamily, number>> = { inet: 1, ip: 2, bridge: 7, ip6: 10 };

/** The number of nf_tables among the subsystems of netfilter's netlink. */
export const nftSubsystem = 10;
const batchBegin = 16;
const batchEnd = 17;
/** The messages of nf_tables by what they do. */
export const nftMessage = {
  newTable: 0,
  getTable: 1,
  deleteTable: 2,
  newChain: 3,
  getChain: 4,
  newRule: 6,
  getRule: 7,
  newSet: 9,
  getSet: 10,
  newElements: 12,
  getElements: 13,
  deleteElements: 14,
} as const;
/** Flags of messages (linux/netlink.h). */
const request = 1;
const acknowledged = 4;
export const create = 0x400;
export const append = 0x800;

// Attributes of lists of elements, elements, their data, and verdicts.
export const listAttribute = { table: 1, set: 2, elements: 3 };
export const elementAttribute = { key: 1, data: 2, timeout: 4, expiration: 5, userData: 6, expression: 7, keyEnd: 10 };
export const dataAttribute = { value: 1, verdict: 2 };
export const verdictAttribute = { code: 1, chain: 2 };
export const verdictCodes: Readonly<Record<string, number>> = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 };
/** An element of a list. */
export const listItem = 1;
/** What nft(8) keeps comments as: type, length, text with its zero. */
const commentUserData = 0;
const nested = 0x8000;
const headerLength = 16;
const align = (length: number): number => (length + 3) & ~3;
/** Attributes have lengths of 16 bits; the elements of a message are one attribute, and one element is shorter than this. */
const mostElementBytes = 0xffff - 1024;
const firstCapacity = 4096;

/** What a message does, for the text of its refusal. */
type Purpose =
  | string
  | {
      readonly verb: 'adding' | 'deleting';
      readonly set: string;
      readonly elements: readonly (Element | ElementRun)[];
      /** How many elements of them are in messages before this one. */
      readonly skipped: number;
    };

interface Sent {
  readonly at: number;
  readonly purpose: Purpose;
}

/** Buffer.write costs ten times as much for texts as short as these. */
function writeAscii(bytes: Buffer, at: number, text: string): void {
  for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
}

export class NftBatch {
  #bytes = Buffer.alloc(firstCapacity);
  #end = 0;
  #last = 0;
  readonly #family: number;
  readonly #table: TableName;
  /** By their numbers. */
  readonly #sent: Sent[] = [];

  /** Begins a transaction on one table. */
  constructor(table: TableName) {
    this.#table = table;
    this.#family = familyNumbers[table.family];
    this.#begin(batchBegin, request, 'the transaction', { family: 0, resource: nftSubsystem });
    this.#finish();
  }

  /** A message of nf_tables about the table; `attributes` come after the table's name (as its first attribute). */
  message(type: number, flags: number, what: string, attributes?: Buffer): void {
    this.#begin((nftSubsystem << 8) | type, request | flags, what);
    this.#text(listAttribute.table, this.#table.name);
    if (attributes !== undefined) this.#raw(attributes);
    this.#finish();
  }

  /** Adds or deletes elements of one set. Throws a WireError where one is not of the set's types. */
  elements(verb: 'adding' | 'deleting', set: WireSet, elements: readonly (Element | ElementRun)[]): void {
    const isNew = verb === 'adding';
    const type = (nftSubsystem << 8) | (isNew ? nftMessage.newElements : nftMessage.deleteElements);
    let list = -1;
    let count = 0;
    const next = (): void => {
      if (list >= 0 && this.#end - list < mostElementBytes) return;
      finish();
      this.#begin(type, request | (isNew ? create : 0), { verb, set: set.name, elements, skipped: count });
      this.#text(listAttribute.table, this.#table.name);
      this.#text(listAttribute.set, set.name);
      list = this.#open(listAttribute.elements);
    };
    const finish = (): void => {
      if (list < 0) return;
      this.#close(list);
      this.#finish();
    };
    const keyLength = lengthOf(set.key);
    for (const one of elements) {
      if ('values' in one) {
        const key = Buffer.alloc(keyLength);
        const counter = writeParts(key, 0, set.key, one.prefix);
        for (const [index, value] of one.values.entries()) {
          next();
          key.writeUInt32LE(one.first + index, counter);
          const item = this.#open(listItem);
          const place = this.#openData(elementAttribute.key, keyLength);
          key.copy(this.#bytes, place);
          if (isNew) this.#data(set, value);
          this.#close(item);
          count++;
        }
      } else {
        next();
        this.#element(set, one, keyLength, isNew);
        count++;
      }
    }
    finish();
  }

  #element(set: WireSet, { key, value, comment, lifetime }: Element, keyLength: number, isNew: boolean): void {
    const item = this.#open(listItem);
    const place = this.#openData(elementAttribute.key, keyLength);
    writeParts(this.#bytes, place, set.key, key);
    if (set.hasEnd) {
      const end = this.#openData(elementAttribute.keyEnd, keyLength);
      writeParts(this.#bytes, end, set.key, key, true);
    }
    if (isNew && value !== undefined) this.#data(set, value);
    if (isNew && lifetime !== undefined) {
      this.#milliseconds(elementAttribute.timeout, lifetime.timeout * 1000);
      this.#milliseconds(elementAttribute.expiration, lifetime.expires * 1000);
    }
    if (isNew && comment !== undefined) this.#comment(checkedComment(comment));
    this.#close(item);
  }

  #data(set: WireSet, value: string): void {
    if (set.value === 'verdict') this.#verdict(value);
    else if (set.value !== undefined) {
      const place = this.#openData(elementAttribute.data, lengthOf(set.value));
      writeParts(this.#bytes, place, set.value, value);
    }
  }

  #verdict(text: string): void {
    const space = text.indexOf(' ');
    const word = space < 0 ? text : text.slice(0, space);
    const data = this.#open(elementAttribute.data);
    const verdict = this.#open(dataAttribute.verdict);
    const code = this.#put(verdictAttribute.code, 4);
    this.#bytes.writeInt32BE(verdictCodes[word] ?? 0, code);
    if (space >= 0) this.#text(verdictAttribute.chain, text.slice(space + 1));
    this.#close(verdict);
    this.#close(data);
  }

  #comment(comment: string): void {
    const length = comment.length + 1;
    const place = this.#put(elementAttribute.userData, 2 + length);
    this.#bytes[place] = commentUserData;
    this.#bytes[place + 1] = length;
    writeAscii(this.#bytes, place + 2, comment);
  }

  #milliseconds(type: number, value: number): void {
    const place = this.#put(type, 8);
    this.#bytes.writeBigUInt64BE(BigInt(value), place);
  }

  /** Ends the transaction: the bytes to send. Its last message is answered also when the kernel agrees. */
  end(): Buffer {
    const flags = this.#bytes.readUInt16LE(this.#last + 6);
    this.#bytes.writeUInt16LE(flags | acknowledged, this.#last + 6);
    this.#begin(batchEnd, request, 'the transaction', { family: 0, resource: nftSubsystem });
    this.#finish();
    return this.#bytes.subarray(0, this.#end);
  }

  /** Which message the kernel answers when all went well. */
  get acknowledged(): number {
    return this.#sent.length - 2;
  }

  /** What the message of this number does; `offset` is that of the attribute that the kernel did not like. */
  whatOf(sequence: number, offset: number | undefined): string {
    const { family, name } = this.#table;
    const sent = this.#sent[sequence];
    if (sent === undefined) return `a change of the table ${family} ${name}`;
    const { at, purpose } = sent;
    if (typeof purpose === 'string') return `${purpose} of the table ${family} ${name}`;
    const { verb, set, elements, skipped } = purpose;
    const position = offset === undefined ? undefined : this.#itemAt(at, offset);
    if (position === undefined) return `${verb} elements, set ${set} of the table ${family} ${name}`;
    const found = elements.flatMap(elementsOf)[skipped + position];
    return `${verb} the element { ${found === undefined ? '?' : describeElement(found)} }, set ${set} of the table ${family} ${name}`;
  }

  /** The how manieth element of the message that begins at `at` lies at the offset. */
  #itemAt(at: number, offset: number): number | undefined {
    const bytes = this.#bytes;
    const end = at + bytes.readUInt32LE(at);
    let list = at + headerLength + 4;
    while (list < end && (bytes.readUInt16LE(list + 2) & ~nested) !== listAttribute.elements)
      list += align(bytes.readUInt16LE(list));
    let count = 0;
    for (let item = list + 4; item < end; item += align(bytes.readUInt16LE(item))) {
      if (at + offset >= item && at + offset < item + bytes.readUInt16LE(item)) return count;
      count++;
    }
    return undefined;
  }

  #begin(type: number, flags: number, purpose: Purpose, other?: { family: number; resource: number }): void {
    this.#reserve(headerLength + 4);
    this.#last = this.#end;
    const bytes = this.#bytes;
    bytes.writeUInt16LE(type, this.#end + 4);
    bytes.writeUInt16LE(flags, this.#end + 6);
    bytes.writeUInt32LE(this.#sent.length, this.#end + 8);
    bytes[this.#end + headerLength] = other?.family ?? this.#family;
    bytes.writeUInt16BE(other?.resource ?? 0, this.#end + headerLength + 2);
    this.#sent.push({ at: this.#end, purpose });
    this.#end += headerLength + 4;
  }

  #finish(): void {
    this.#bytes.writeUInt32LE(this.#end - this.#last, this.#last);
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(2 * this.#bytes.length, align(this.#end + more)));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }

  /** An attribute of so many bytes, all zero; returns where they are. */
  #put(type: number, length: number): number {
    this.#reserve(align(4 + length));
    const at = this.#end;
    this.#bytes.writeUInt16LE(4 + length, at);
    this.#bytes.writeUInt16LE(type, at + 2);
    this.#end += align(4 + length);
    return at + 4;
  }

  /** A value in its two attributes; returns where its bytes are. */
  #openData(type: number, length: number): number {
    const outer = this.#open(type);
    const place = this.#put(dataAttribute.value, length);
    this.#close(outer);
    return place;
  }

  #text(type: number, value: string): void {
    const place = this.#put(type, value.length + 1);
    writeAscii(this.#bytes, place, value);
  }

  #raw(attributes: Buffer): void {
    this.#reserve(align(attributes.length));
    attributes.copy(this.#bytes, this.#end);
    this.#end += align(attributes.length);
  }

  /** Begins an attribute that holds others; returns where it is. */
  #open(type: number): number {
    const at = this.#end;
    this.#reserve(4);
    this.#bytes.writeUInt16LE(type | nested, at + 2);
    this.#end += 4;
    return at;
  }

  #close(at: number): void {
    this.#bytes.writeUInt16LE(this.#end - at, at);
  }
}
