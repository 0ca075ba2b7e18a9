// What the server knew last, on disk: after a restart it answers from that until it has heard from the API server.
import { createReadStream } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as breathe } from 'node:timers/promises';
import { parseIp } from '../net/address.ts';
import type { ServiceEntry } from './service-entry.ts';

export interface Snapshot {
  readonly entries: readonly ServiceEntry[];
  readonly namespaces: readonly string[];
}

interface Header {
  readonly version: 1;
  readonly namespaces: readonly string[];
  /** How many entries follow, a line each: a file that was cut off is none. */
  readonly entries: number;
}

/** So many entries are written before other events get their turn. */
const batch = 200;

/** Writes the snapshot, whole or not at all. */
export async function writeSnapshot(path: string, { entries, namespaces }: Snapshot): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600);
  try {
    const header: Header = { version: 1, namespaces, entries: entries.length };
    await file.write(`${JSON.stringify(header)}\n`);
    for (let at = 0; at < entries.length; at += batch) {
      const lines = entries.slice(at, at + batch).map((entry) => `${JSON.stringify(entry)}\n`);
      await file.write(lines.join(''));
      await breathe();
    }
  } finally {
    await file.close();
  }
  await rename(part, path);
}

/** The snapshot, or undefined where there is none that is whole. */
export async function readSnapshot(path: string): Promise<Snapshot | undefined> {
  let header: Header | undefined;
  const entries: ServiceEntry[] = [];
  try {
    for await (const line of createInterface({ input: createReadStream(path, 'utf8') })) {
      const value: unknown = JSON.parse(line);
      if (header === undefined) {
        if (!isHeader(value)) return undefined;
        header = value;
      } else if (isEntry(value)) entries.push(value);
      else return undefined;
    }
  } catch {
    return undefined;
  }
  return header?.entries === entries.length ? { entries, namespaces: header.namespaces } : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const isText = (value: unknown): value is string => typeof value === 'string';
const isListOf = (value: unknown, is: (one: unknown) => boolean): boolean => Array.isArray(value) && value.every(is);
const isAddress = (value: unknown): boolean => isText(value) && parseIp(value) !== undefined;

const isHeader = (value: unknown): value is Header =>
  isObject(value) && value.version === 1 && typeof value.entries === 'number' && isListOf(value.namespaces, isText);

const isPort = (value: unknown): boolean =>
  isObject(value) && isText(value.name) && isText(value.protocol) && typeof value.number === 'number';

const isEndpoint = (value: unknown): boolean =>
  isObject(value) &&
  (value.label === undefined || isText(value.label)) &&
  isAddress(value.ip) &&
  isListOf(value.ports, isPort);

const isEntry = (value: unknown): value is ServiceEntry =>
  isObject(value) &&
  isText(value.namespace) &&
  isText(value.name) &&
  ['address', 'headless', 'alias'].some((kind) => kind === value.kind) &&
  isText(value.target) &&
  isListOf(value.ips, isAddress) &&
  isListOf(value.ports, isPort) &&
  isListOf(value.endpoints, isEndpoint);
