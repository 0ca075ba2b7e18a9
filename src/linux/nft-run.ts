// Runs nftables transactions in this process's network namespace: libnftables in process, nft(8) for the large ones.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Change, type Element, renderChange, type TableName } from './nft.ts';
import { readElements } from './nft-elements.ts';
import { readOutline, type TableOutline } from './nft-outline.ts';
import { noteOwnProcess } from './own-processes.ts';

/** The kernel or nft refused a transaction; nothing of it was done. The message is nft's own. */
export class NftError extends Error {
  override readonly name = 'NftError';
}

/** The way to the kernel's nftables. */
export interface Nft {
  /** Commits a change; all of it or nothing. */
  commit(table: TableName, change: Change): Promise<void>;
  /** Deletes the table; that there is none is no error. */
  remove(table: TableName): Promise<void>;
  /** The table without the elements of its sets; undefined when there is none. */
  outline(table: TableName): Promise<TableOutline | undefined>;
  /** The elements of one set or map in the kernel; none when it is not there. Slow for large sets. */
  elements(table: TableName, set: string): Promise<Element[]>;
}

// A transaction of this size keeps the thread for about 6 ms; a child process costs 16 ms, but nobody's thread, and its
// memory is given back when it ends.
const inProcessLimit = 64 * 1024;

/** As a table is empty of commands it does not exist: what nft says then. */
const missing = /No such file or directory/;

/** Opens the way: libnftables by FFI (0.1 ms for a small change, measured), or only nft(8) where there is no such library. */
export async function openNft(): Promise<Nft> {
  const library = await openLibrary();
  const run = (script: string): Promise<string> =>
    library !== undefined && script.length <= inProcessLimit
      ? library(script)
      : runTool(['--terse', '--file', '-'], script);
  return {
    async commit(table, change) {
      const script = renderChange(table, change);
      if (script !== '') await run(script);
    },
    async remove({ family, name }) {
      // The first line makes the second one valid where there is no table.
      await run(`add table ${family} ${name}\ndelete table ${family} ${name}\n`);
    },
    outline: async (table) => readOutline(table),
    async elements({ family, name }, set) {
      try {
        return readElements(set, await runTool(['--json', 'list', 'map', family, name, set]));
      } catch (error) {
        if (error instanceof NftError && missing.test(error.message)) return [];
        throw error;
      }
    },
  };
}

/** A file without a name that holds the text: a pipe would wake both sides for each 64 KB of what may be many MB. */
function unnamedFile(text: string): number {
  const path = join(tmpdir(), `weft-nft-${randomUUID()}`);
  const file = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  // At a position, so that the file is read from its beginning.
  const content = Buffer.from(text);
  for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at, at);
  return file;
}

function runTool(argv: readonly string[], script = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const input = script === '' ? undefined : unnamedFile(script);
    const child = spawn('nft', argv, { stdio: [input ?? 'ignore', 'pipe', 'pipe'] });
    if (input !== undefined) closeSync(input);
    noteOwnProcess(child.pid);
    let output = '';
    let errors = '';
    child.stdout?.on('data', (chunk) => {
      output += String(chunk);
    });
    child.stderr?.on('data', (chunk) => {
      errors += String(chunk);
    });
    child.on('error', (error) => reject(new NftError(`nft cannot be run (is nftables installed?): ${error.message}`)));
    child.on('close', (code) => (code === 0 ? resolve(output) : reject(new NftError(oneLine(errors, code)))));
  });
}

const oneLine = (errors: string, code: number | null): string => {
  const text = errors.trim().split('\n').slice(0, 3).join(' | ').slice(0, 600);
  return text === '' ? `nft ended with status ${code}` : `nft refused: ${text}`;
};

type RunScript = (script: string) => Promise<string>;

// From libnftables.h: do not list the elements of sets.
const terse = 1 << 11;

async function openLibrary(): Promise<RunScript | undefined> {
  try {
    const ffi = await import('node:ffi');
    const { functions: lib } = ffi.dlopen('libnftables.so.1', {
      nft_ctx_new: { arguments: ['uint32'], return: 'pointer' },
      nft_ctx_buffer_error: { arguments: ['pointer'], return: 'int32' },
      nft_ctx_buffer_output: { arguments: ['pointer'], return: 'int32' },
      nft_ctx_get_error_buffer: { arguments: ['pointer'], return: 'pointer' },
      nft_ctx_get_output_buffer: { arguments: ['pointer'], return: 'pointer' },
      nft_ctx_output_set_flags: { arguments: ['pointer', 'uint32'], return: 'void' },
      nft_run_cmd_from_buffer: { arguments: ['pointer', 'string'], return: 'int32' },
    });
    const context = lib.nft_ctx_new(0);
    lib.nft_ctx_buffer_error(context);
    lib.nft_ctx_buffer_output(context);
    lib.nft_ctx_output_set_flags(context, terse);
    return async (script) => {
      const status = lib.nft_run_cmd_from_buffer(context, script);
      if (status !== 0) throw new NftError(oneLine(ffi.toString(lib.nft_ctx_get_error_buffer(context)) ?? '', status));
      return ffi.toString(lib.nft_ctx_get_output_buffer(context)) ?? '';
    };
  } catch {
    return undefined;
  }
}
