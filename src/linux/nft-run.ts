// Runs nftables transactions in a network namespace: elements by netlink, rules by libnftables in process,
// and nft(8) for what is large or where there is no such library.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemCallError } from './libc.ts';
import { Netlink } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import { inNetns, type NetnsRef } from './netns.ts';
import {
  type Change,
  type Element,
  renderChange,
  type SetDefinition,
  type TableName,
  type TableWithSets,
} from './nft.ts';
import { batchOf, type SplitChange, sendBatch, splitChange } from './nft-commit.ts';
import { listElements } from './nft-get.ts';
import { readOutline, type TableOutline } from './nft-outline.ts';
import { readSkeleton, type Skeleton } from './nft-skeleton.ts';
import { noteOwnProcess } from './own-processes.ts';

/** The kernel or nft refused a transaction; nothing of it was done. The message is nft's own. */
export class NftError extends Error {
  override readonly name = 'NftError';
}

/** The way to the kernel's nftables. */
export interface Nft {
  /** Commits a change; all of it or nothing, but for chains that are new, which may stay without anything else. */
  commit(table: TableWithSets, change: Change): Promise<void>;
  /** Deletes the table; that there is none is no error. */
  remove(table: TableName): Promise<void>;
  /** The table without the elements of its sets; undefined when there is none. */
  outline(table: TableName): Promise<TableOutline | undefined>;
  /** The elements of one set or map in the kernel; none when it is not there. Slow for large sets. */
  elements(table: TableName, set: SetDefinition): Promise<Element[]>;
}

// A transaction of this size keeps the thread for about 6 ms; a child process costs 16 ms, but nobody's thread, and its
// memory is given back when it ends.
const inProcessLimit = 64 * 1024;

/** From so many elements on a table that is made anew is not written by nft(8): it would parse longer than they take. */
const manyElements = 500;

/**
 * Opens the way, in a network namespace (this process's own where none is given): netlink for elements (0.1 ms for a
 * small change, measured), libnftables by FFI for the rest; or only nft(8) where there is no such library.
 */
export async function openNft(netns?: NetnsRef): Promise<Nft> {
  const library = await openLibrary(netns);
  const netlink = Netlink.open(netns, netfilterProtocol);
  const run = async (script: string): Promise<string> =>
    library !== undefined && script.length <= inProcessLimit
      ? library.run(script)
      : runTool(netns, ['--terse', '--file', '-'], script);
  const commitText = async (table: TableName, change: Change): Promise<void> => {
    const script = renderChange(table, change);
    if (script !== '') await run(script);
  };
  const send = async (...[table, change, skeleton]: Parameters<typeof batchOf>): Promise<void> => {
    try {
      await sendBatch(netlink, batchOf(table, change, skeleton));
    } catch (error) {
      throw error instanceof SystemCallError ? new NftError(`the kernel refused: ${error.message}`) : error;
    }
  };
  return {
    async commit(table, change) {
      const split = splitChange(table, change);
      const way = wayOf(split);
      if (library === undefined || way === 'text') return commitText(table, change);
      if (way === 'skeleton') return send(table, split, library.draft(table, renderChange(table, split.text)));
      await commitText(table, split.text);
      await send(table, split);
    },
    async remove({ family, name }) {
      // The first line makes the second one valid where there is no table.
      await run(`add table ${family} ${name}\ndelete table ${family} ${name}\n`);
    },
    outline: async (table) => readOutline(table, netns),
    elements: async (table, set) => listElements(netns, table, set),
  };
}

/**
 * How a change is written: in the words of nft(8); by netlink, after chains that are new; or by netlink alone with the
 * table that nft(8) makes of its words.
 */
function wayOf({ text, deleted, added }: SplitChange): 'text' | 'netlink' | 'skeleton' {
  const elements = [...deleted, ...added].reduce((sum, one) => sum + one.elements.length, 0);
  if (elements === 0) return 'text';
  if (text.replace !== undefined) return elements < manyElements ? 'text' : 'skeleton';
  const others = text.removed.length + text.added.length + (text.addedRuns?.length ?? 0);
  const isOneTransaction = others === 0 && !text.flushed?.length && !text.removedChains?.length;
  return isOneTransaction ? 'netlink' : 'text';
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

function runTool(netns: NetnsRef | undefined, argv: readonly string[], script = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const input = script === '' ? undefined : unnamedFile(script);
    const child = within(netns, () => spawn('nft', argv, { stdio: [input ?? 'ignore', 'pipe', 'pipe'] }));
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

const within = <T>(netns: NetnsRef | undefined, work: () => T): T =>
  netns === undefined ? work() : inNetns(netns, work);

interface Library {
  /** Runs commands of nft(8) at once; what they print. Throws an NftError. */
  run(script: string): string;
  /** What commands that make a table make of it, without making it here. */
  draft(table: TableName, script: string): Skeleton;
}

// From libnftables.h: do not list the elements of sets.
const terse = 1 << 11;

async function openLibrary(netns: NetnsRef | undefined): Promise<Library | undefined> {
  try {
    const ffi = await import('node:ffi');
    const { functions: lib } = ffi.dlopen('libnftables.so.1', {
      nft_ctx_new: { arguments: ['uint32'], return: 'pointer' },
      nft_ctx_free: { arguments: ['pointer'], return: 'void' },
      nft_ctx_buffer_error: { arguments: ['pointer'], return: 'int32' },
      nft_ctx_buffer_output: { arguments: ['pointer'], return: 'int32' },
      nft_ctx_get_error_buffer: { arguments: ['pointer'], return: 'pointer' },
      nft_ctx_get_output_buffer: { arguments: ['pointer'], return: 'pointer' },
      nft_ctx_output_set_flags: { arguments: ['pointer', 'uint32'], return: 'void' },
      nft_run_cmd_from_buffer: { arguments: ['pointer', 'string'], return: 'int32' },
    });
    // A context belongs to the network namespace that it was made in.
    const newContext = (): bigint => {
      const context = lib.nft_ctx_new(0);
      lib.nft_ctx_buffer_error(context);
      lib.nft_ctx_buffer_output(context);
      lib.nft_ctx_output_set_flags(context, terse);
      return context;
    };
    const runIn = (context: bigint, script: string): string => {
      const status = lib.nft_run_cmd_from_buffer(context, script);
      if (status !== 0) throw new NftError(oneLine(ffi.toString(lib.nft_ctx_get_error_buffer(context)) ?? '', status));
      return ffi.toString(lib.nft_ctx_get_output_buffer(context)) ?? '';
    };
    const own = within(netns, newContext);
    return {
      run: (script) => runIn(own, script),
      draft: (table, script) =>
        readSkeleton(table, () => {
          const context = newContext();
          try {
            runIn(context, script);
          } finally {
            lib.nft_ctx_free(context);
          }
        }),
    };
  } catch {
    return undefined;
  }
}
