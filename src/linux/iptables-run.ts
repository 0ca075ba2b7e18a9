// Runs iptables-restore(8) and iptables-save(8) in this process's network namespace, by the backend that is in use there.
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Family } from '../net/address.ts';
import { type IptablesTable, restoreText, type TableChange } from './iptables.ts';
import { readSave, type SavedTable } from './iptables-save.ts';
import { noteOwnProcess } from './own-processes.ts';

/** iptables refused, or it cannot be run. The message is iptables' own. */
export class IptablesError extends Error {
  override readonly name = 'IptablesError';
}

/** `nft`: the rules are tables of nftables. `legacy`: those of the kernel's older ip_tables. A namespace can have both. */
export type IptablesBackend = 'nft' | 'legacy';

/** The way to the kernel's iptables. */
export interface Iptables {
  readonly backend: IptablesBackend;
  /** Writes the changes: each table's all or not at all. Chains that they do not name stay as they are. */
  restore(family: Family, changes: readonly TableChange[]): Promise<void>;
  /** What is in the kernel, of one table or of all; slow for many rules. A table that is not there stays so. */
  save(family: Family, table?: IptablesTable): Promise<ReadonlyMap<string, SavedTable>>;
  /** The rules of one chain as lines; undefined where there is no such chain. Cheap for the legacy backend too. */
  list(family: Family, table: IptablesTable, chain: string): Promise<readonly string[] | undefined>;
}

/** Seconds to wait for the lock of ip_tables while another program writes. */
const lockSeconds = '5';

/** The backends whose programs are installed. */
export function installedBackends(): IptablesBackend[] {
  return (['nft', 'legacy'] as const).filter((backend) => isProgram(`iptables-${backend}-restore`));
}

function isProgram(name: string): boolean {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

/**
 * Opens the backend that this network namespace uses: the one that holds more rules, as the images of kube-proxy decide,
 * and in an empty namespace the one that `iptables` is on this machine. Throws an IptablesError where none is installed.
 */
export async function openIptables(): Promise<Iptables> {
  const installed = installedBackends();
  if (installed.length === 0)
    throw new IptablesError("iptables is not installed (Debian's package iptables): install it on every node");
  return iptablesOf(await chooseBackend(installed));
}

async function chooseBackend(installed: readonly IptablesBackend[]): Promise<IptablesBackend> {
  const [only] = installed;
  if (only !== undefined && installed.length === 1) return only;
  if (hasLegacyTables()) {
    const [nft, legacy] = await Promise.all([ruleCount('nft'), ruleCount('legacy')]);
    if (nft !== legacy) return nft > legacy ? 'nft' : 'legacy';
  }
  const version = await run('iptables', ['--version']).catch(() => '');
  return version.includes('legacy') ? 'legacy' : 'nft';
}

/** Whether ip_tables holds anything in this namespace; to ask iptables-legacy itself would make its tables. */
export function hasLegacyTables(): boolean {
  return ['ip_tables_names', 'ip6_tables_names'].some((file) => {
    try {
      return readFileSync(`/proc/self/net/${file}`, 'utf8').trim() !== '';
    } catch {
      return false;
    }
  });
}

async function ruleCount(backend: IptablesBackend): Promise<number> {
  let count = 0;
  for (const family of ['IPv4', 'IPv6'] as const)
    for (const { chains } of (await iptablesOf(backend).save(family)).values())
      for (const rules of chains.values()) count += rules.length;
  return count;
}

/** The way to the iptables of one backend. */
export function iptablesOf(backend: IptablesBackend): Iptables {
  const program = (family: Family, action: string): string =>
    `${family === 'IPv4' ? 'iptables' : 'ip6tables'}-${backend}${action}`;
  return {
    backend,
    async restore(family, changes) {
      const text = restoreText(changes);
      if (text !== '') await run(program(family, '-restore'), ['--noflush', '--wait', lockSeconds], text);
    },
    async save(family, table) {
      return readSave(await run(program(family, '-save'), table === undefined ? [] : ['--table', table]));
    },
    async list(family, table, chain) {
      try {
        const argv = ['--wait', lockSeconds, '--table', table, '--list-rules', chain];
        const text = await run(program(family, ''), argv);
        return text.split('\n').filter((line) => line.startsWith('-A '));
      } catch (error) {
        if (error instanceof IptablesError && /No chain\/target\/match|does not exist/.test(error.message))
          return undefined;
        throw error;
      }
    },
  };
}

function run(program: string, argv: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
    noteOwnProcess(child.pid);
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors += chunk;
    });
    child.on('error', (error) => reject(new IptablesError(`${program} cannot be run: ${error.message}`)));
    child.on('close', (code) =>
      code === 0 ? resolve(output) : reject(new IptablesError(refusal(program, code, errors, input))),
    );
    // A child that ended early is reported by its exit code.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** What iptables said, in one line, with the line of the input that it names. */
function refusal(program: string, code: number | null, errors: string, input: string): string {
  const said = errors
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('Try `'))
    .slice(0, 3)
    .join(' | ')
    .slice(0, 500);
  const number = /line:? (\d+)/.exec(said)?.[1];
  const line = number === undefined ? undefined : input.split('\n')[Number(number) - 1];
  return `${program} ended with status ${code}: ${said}${line === undefined ? '' : ` (${line})`}`;
}
