// The part of a program that runs: an ELF file without its symbols and debug sections. Pure.

/** Offsets in the header of a 64-bit ELF file (gABI, chapter 4 "ELF Header" and "Program Header"). */
const header = { class: 4, data: 5, phoff: 32, shoff: 40, phentsize: 54, phnum: 56, shnum: 60, shstrndx: 62, size: 64 };
const program = { offset: 8, fileSize: 32 };
const is64Bit = 2;
const isLittleEndian = 1;

/**
 * The bytes that a loader reads. Symbols and debug information come after them and are found by the table of sections
 * only, which goes too; of Node.js this is a quarter. What is no 64-bit little-endian ELF file comes back as it is.
 */
export function loadablePart(file: Buffer): Buffer {
  const isElf = file.length >= header.size && file.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'));
  if (!isElf || file[header.class] !== is64Bit || file[header.data] !== isLittleEndian) return file;
  const table = Number(file.readBigUInt64LE(header.phoff));
  const entrySize = file.readUInt16LE(header.phentsize);
  const count = file.readUInt16LE(header.phnum);
  let end = table + entrySize * count;
  if (count === 0 || end > file.length) return file;
  for (let entry = table; entry < table + entrySize * count; entry += entrySize) {
    const offset = Number(file.readBigUInt64LE(entry + program.offset));
    end = Math.max(end, offset + Number(file.readBigUInt64LE(entry + program.fileSize)));
  }
  if (end > file.length) return file;
  const part = Buffer.from(file.subarray(0, end));
  part.writeBigUInt64LE(0n, header.shoff);
  part.writeUInt16LE(0, header.shnum);
  part.writeUInt16LE(0, header.shstrndx);
  return part;
}
