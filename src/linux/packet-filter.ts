// Programs of the classic packet filter (linux/filter.h) that let a socket hear those frames alone that it answers.
import type { Ip } from '../net/address.ts';
import { ipBytes } from './addresses.ts';

/** An instruction: code, jumps where a comparison is true and where it is not, operand. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number];
export type FilterProgram = readonly Instruction[];

const load8 = 0x30; // ld [k:1]
const load16 = 0x28; // ldh [k]
const load32 = 0x20; // ld [k]
const equal = 0x15; // jeq #k
const ret = 0x06; // ret #k
const [all, nothing] = [0x40000, 0];

/** Programs have at most 4096 instructions; beyond so many addresses all questions are let through. */
const mostAddresses = 1000;

/** Goes on where the loaded value is k, and drops the frame where it is not. */
const must = (k: number): Instruction[] => [
  [equal, 1, 0, k],
  [ret, 0, 0, nothing],
];

/** Takes the frame where the word at an offset is one of these. */
function oneOf(offset: number, words: readonly number[]): Instruction[] {
  if (words.length > mostAddresses) return [[ret, 0, 0, all]];
  return [
    [load32, 0, 0, offset],
    ...words.flatMap((word): Instruction[] => [
      [equal, 0, 1, word],
      [ret, 0, 0, all],
    ]),
    [ret, 0, 0, nothing],
  ];
}

const words = (addresses: readonly Ip[]): number[] => [
  ...new Set(addresses.map((address) => ipBytes(address).subarray(-4).readUInt32BE())),
];

/** ARP requests (RFC 826) for one of the addresses. The frame begins with its Ethernet header. */
export function arpRequestsFor(addresses: readonly Ip[]): FilterProgram {
  return [[load16, 0, 0, 20], ...must(1), ...oneOf(38, words(addresses))];
}

/**
 * Neighbour solicitations (RFC 4861) for an address whose last four bytes are those of one of these: whoever reads them
 * looks at the whole address.
 */
export function solicitationsFor(addresses: readonly Ip[]): FilterProgram {
  return [[load8, 0, 0, 20], ...must(58), [load8, 0, 0, 54], ...must(135), ...oneOf(74, words(addresses))];
}

/** The program as the kernel takes it: struct sock_filter, one after the other. */
export function filterBytes(program: FilterProgram): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, jt, jf, k]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  }
  return bytes;
}
