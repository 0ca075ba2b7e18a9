// The kubeconfig of a cluster, and its place in the user's own: merged in at `up`, taken out at `down`.
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { type Document, isMap, isSeq, parseDocument, stringify } from 'yaml';

export interface ClusterAccess {
  /** The name of context, cluster and user. */
  readonly context: string;
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export function contextName(cluster: string): string {
  return `weft-${cluster}`;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function entriesOf(access: ClusterAccess): Record<'clusters' | 'contexts' | 'users', object> {
  const { context: name } = access;
  return {
    clusters: { name, cluster: { server: access.server, 'certificate-authority-data': base64(access.ca) } },
    contexts: { name, context: { cluster: name, user: name } },
    users: {
      name,
      user: { 'client-certificate-data': base64(access.cert), 'client-key-data': base64(access.key) },
    },
  };
}

/** A kubeconfig with this cluster alone. */
export function kubeconfigText(access: ClusterAccess): string {
  const { clusters, contexts, users } = entriesOf(access);
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': access.context,
    clusters: [clusters],
    contexts: [contexts],
    users: [users],
    preferences: {},
  });
}

/** The text of a kubeconfig with this cluster added (or replaced) and made current; the rest stays, comments too. */
export function mergeKubeconfig(text: string, access: ClusterAccess): string {
  if (text.trim() === '') return kubeconfigText(access);
  const document = parsed(text);
  for (const [list, entry] of Object.entries(entriesOf(access))) {
    const names = namesOf(document, list);
    const index = names.indexOf(access.context);
    if (names.length === 0) document.set(list, document.createNode([entry]));
    else if (index >= 0) document.setIn([list, index], document.createNode(entry));
    else document.addIn([list], document.createNode(entry));
  }
  document.set('current-context', access.context);
  return document.toString();
}

/** The text without the context, cluster and user of that name; undefined where it has none of them. */
export function removeFromKubeconfig(text: string, context: string): string | undefined {
  const document = parsed(text);
  let changed = false;
  for (const list of ['clusters', 'contexts', 'users']) {
    const index = namesOf(document, list).indexOf(context);
    if (index >= 0) changed = document.deleteIn([list, index]) || changed;
  }
  if (document.get('current-context') === context) {
    document.set('current-context', '');
    changed = true;
  }
  return changed ? document.toString() : undefined;
}

function parsed(text: string): Document {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`is no readable YAML: ${error.message.split('\n')[0]}`);
  if (document.contents !== null && !isMap(document.contents)) throw new Error('is no kubeconfig (a map is expected)');
  return document;
}

function namesOf(document: Document, list: string): unknown[] {
  const entries = document.get(list);
  return isSeq(entries) ? entries.items.map((item) => (isMap(item) ? item.get('name') : undefined)) : [];
}

/** The file that kubectl would write to: the first of KUBECONFIG, or ~/.kube/config. */
export function userKubeconfig(): string {
  const [first] = (process.env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  return first ?? join(homedir(), '.kube', 'config');
}

/** Throws, with the file's name, where a kubeconfig cannot be merged into. */
export function checkKubeconfig(file: string): void {
  if (existsSync(file)) withFileName(file, () => parsed(readFileSync(file, 'utf8')));
}

/**
 * Changes a kubeconfig under kubectl's own lock (`FILE.lock`) and by a rename; the file is for its owner alone.
 * `change` gets the text ('' where there is no file) and gives the new one, or undefined to leave it. Another program
 * holds the lock for a moment only: it is waited for, `patience` milliseconds at most.
 */
export function changeKubeconfig(file: string, change: (text: string) => string | undefined, patience = 5_000): void {
  // A link stays a link: what it leads to is replaced.
  const path = existsSync(file) ? realpathSync(file) : file;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const lock = `${path}.lock`;
  for (const end = Date.now() + patience; !takeLock(lock); pause(20)) {
    if (Date.now() >= end)
      throw new Error(`${lock} is there: another program changes ${file}; if none does, remove that file`);
  }
  try {
    withFileName(file, () => {
      const text = change(existsSync(path) ? readFileSync(path, 'utf8') : '');
      if (text === undefined) return;
      writeFileSync(`${path}.weft`, text, { mode: 0o600 });
      renameSync(`${path}.weft`, path);
    });
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Makes the lock's file; false where another program has made it. */
function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, '', { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Blocks for so many milliseconds. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function withFileName<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Error(`kubeconfig ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
