// What a table consists of besides the elements of its large sets, as messages for the kernel: libnftables writes it into
// an empty network namespace of its own, and what it made there is read back. So rules are translated by nftables' own
// code, and still reach the kernel in one transaction with elements that are sent directly.
import { attribute, Netlink, parseAttributes, readText } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import { inNewNetns } from './netns.ts';
import type { TableName } from './nft.ts';
import { append, create, familyNumbers, nftMessage } from './nft-batch.ts';

const subsystem = 10 << 8;
/** Of objects and of lists of elements, the first attribute is the table's name. */
const tableName = 1;
// What the kernel takes of what it tells; the rest are its own notes (handles, counts of users).
const setAttribute = { name: 2, id: 10 } as const;
const setAttributes = [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18];
const chainAttributes = [3, 4, 5, 7, 12];
const ruleAttributes = [2, 4, 7];
const elementsAttributes = [2, 3];
const elementsSet = 2;

/** An object of the table: what of it is sent to make it again. */
interface Part {
  readonly type: number;
  readonly flags: number;
  readonly what: string;
  readonly attributes: Buffer;
}

/** A table's sets, their elements, chains and rules, in the order in which one refers to the other. */
export type Skeleton = readonly Part[];

/** Has `write` write the table into an empty namespace, and reads what it made. `write` must be synchronous. */
export function readSkeleton(table: TableName, write: () => void): Skeleton {
  return inNewNetns(() => {
    write();
    using netlink = Netlink.open(undefined, netfilterProtocol);
    return readTable(netlink, table);
  });
}

type Attributes = ReadonlyMap<number, Buffer>;

function readTable(netlink: Netlink, table: TableName): Skeleton {
  const body = Buffer.from([familyNumbers[table.family], 0, 0, 0]);
  const named = attribute(tableName, Buffer.from(`${table.name}\0`));
  const list = (type: number, what: string, attributes: readonly Buffer[] = [named]): Attributes[] =>
    netlink
      .dump({ type: subsystem | type, body, attributes, what: `reading the ${what} of a draft of ${table.name}` })
      .map((message) => parseAttributes(message.body.subarray(body.length)));
  const sets = list(nftMessage.getSet, 'sets');
  const elements = sets.flatMap((set) =>
    list(nftMessage.getElements, 'elements', [named, attribute(elementsSet, set.get(setAttribute.name) ?? noBytes)]),
  );
  return [
    ...sets.map((set, index): Part => {
      const id = attribute(setAttribute.id, numbered(index + 1));
      const kept = Buffer.concat([kernelTakes(set, setAttributes), id]);
      return part(nftMessage.newSet, create, `the set ${nameIn(set, setAttribute.name)}`, kept);
    }),
    ...list(nftMessage.getChain, 'chains').map((chain) =>
      part(nftMessage.newChain, create, `the chain ${nameIn(chain, 3)}`, kernelTakes(chain, chainAttributes)),
    ),
    ...elements
      .filter((some) => some.has(3))
      .map((some) =>
        part(
          nftMessage.newElements,
          create,
          `elements of the set ${nameIn(some, elementsSet)}`,
          kernelTakes(some, elementsAttributes),
        ),
      ),
    ...list(nftMessage.getRule, 'rules').map((rule) =>
      part(
        nftMessage.newRule,
        create | append,
        `a rule of the chain ${nameIn(rule, 2)}`,
        kernelTakes(rule, ruleAttributes),
      ),
    ),
  ];
}

const noBytes = Buffer.alloc(0);
const part = (type: number, flags: number, what: string, attributes: Buffer): Part => ({
  type,
  flags,
  what,
  attributes,
});
const nameIn = (found: Attributes, type: number): string => readText(found.get(type)) ?? '?';

function numbered(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The attributes of these types, as a message carries them. */
function kernelTakes(found: Attributes, types: readonly number[]): Buffer {
  return Buffer.concat(
    types.flatMap((type) => {
      const payload = found.get(type);
      return payload === undefined ? [] : [attribute(type, payload)];
    }),
  );
}
