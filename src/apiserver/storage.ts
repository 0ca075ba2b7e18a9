// The durable store: one append-only SQLite table whose row number is the resourceVersion, and the current state in memory.
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { ApiObject } from './object.ts';
import { gone } from './schema/errors.ts';

/** One write. `object` is the state after it, or for a deletion the last state, with the deletion's resourceVersion. */
export interface Change {
  readonly revision: number;
  readonly deleted: boolean;
  readonly object: ApiObject;
  /** The object as JSON text, as it was stored. */
  readonly json: string;
  /** The state before; undefined where the object was created. */
  readonly old: ApiObject | undefined;
}

export type ChangeListener = (change: Change) => void;

/** The objects of one resource, by `namespace/name`, with the sorted keys made on demand. */
interface Shelf {
  readonly objects: Map<string, ApiObject>;
  sorted: string[] | undefined;
  lastChange: number;
  readonly listeners: Set<ChangeListener>;
}

interface Row {
  readonly rv: number;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly deleted: number;
  readonly value: string;
}

const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA cache_size = -2048;
  CREATE TABLE IF NOT EXISTS log (
    rv INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    deleted INTEGER NOT NULL, value TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS log_key ON log (resource, namespace, name, rv);
  CREATE TABLE IF NOT EXISTS horizon (rv INTEGER NOT NULL) STRICT;
`;

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`;

/**
 * All objects of the cluster. Reads come from memory. A write is on disk (write-ahead log) before it returns, so it
 * survives a killed process; listeners are called synchronously after it, in the order of the revisions.
 */
export class Storage {
  readonly #database: DatabaseSync;
  readonly #shelves = new Map<string, Shelf>();
  readonly #insert: StatementSync;
  readonly #since: StatementSync;
  readonly #before: StatementSync;
  readonly #page: StatementSync;
  #revision: number;
  #horizon: number;

  constructor(file: string) {
    // It holds Secrets: nobody else may read it, nor the write-ahead log, which gets the same mode.
    if (file !== ':memory:') closeSync(openSync(file, 'a', 0o600));
    this.#database = new DatabaseSync(file);
    this.#database.exec(schema);
    this.#insert = this.#database.prepare('INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)');
    this.#since = this.#database.prepare('SELECT * FROM log WHERE resource = ? AND rv > ? ORDER BY rv');
    this.#before = this.#database.prepare(
      'SELECT * FROM log WHERE resource = ? AND namespace = ? AND name = ? AND rv < ? ORDER BY rv DESC LIMIT 1',
    );
    this.#page = this.#database.prepare(
      `SELECT * FROM log AS l WHERE resource = :resource AND rv <= :revision AND deleted = 0
         AND rv = (SELECT max(rv) FROM log WHERE resource = l.resource AND namespace = l.namespace
                   AND name = l.name AND rv <= :revision)`,
    );
    this.#horizon = this.#number('SELECT coalesce(max(rv), 0) AS n FROM horizon');
    this.#revision = Math.max(this.#horizon, this.#number('SELECT coalesce(max(rv), 0) AS n FROM log'));
    this.#load();
  }

  /** The resourceVersion of the newest write of all. */
  get revision(): number {
    return this.#revision;
  }

  /** Changes up to this revision are forgotten: a watch or a list from before it gets 410. */
  get horizon(): number {
    return this.#horizon;
  }

  get(resource: string, namespace: string, name: string): ApiObject | undefined {
    return this.#shelves.get(resource)?.objects.get(keyOf(namespace, name));
  }

  /** The current objects of a resource, of one namespace where given, ordered by namespace and name. */
  list(resource: string, namespace?: string): readonly ApiObject[] {
    const shelf = this.#shelves.get(resource);
    if (shelf === undefined) return [];
    shelf.sorted ??= [...shelf.objects.keys()].sort();
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const found: ApiObject[] = [];
    for (const key of shelf.sorted) {
      const object = shelf.objects.get(key);
      if (object !== undefined && key.startsWith(prefix)) found.push(object);
    }
    return found;
  }

  /** As {@link list}, at a revision of the past. Throws 410 where it is forgotten. */
  listAt(resource: string, namespace: string | undefined, revision: number): readonly ApiObject[] {
    const shelf = this.#shelves.get(resource);
    if (shelf === undefined || shelf.lastChange <= revision) return this.list(resource, namespace);
    if (revision < this.#horizon) throw gone(`The provided resource version ${revision} is too old`);
    const rows = this.#page.all({ resource, revision }) as unknown as Row[];
    const order = (row: Row): string => keyOf(row.namespace, row.name);
    return rows
      .filter((row) => namespace === undefined || row.namespace === namespace)
      .sort((a, b) => (order(a) < order(b) ? -1 : 1))
      .map((row): ApiObject => JSON.parse(row.value));
  }

  /** Stores a new state. The stored copy has the new resourceVersion; it is returned, and must not be changed. */
  put(resource: string, object: ApiObject): ApiObject {
    return this.#write(resource, object, false);
  }

  /** Removes an object; returns its last state with the resourceVersion of the removal, or undefined if there was none. */
  delete(resource: string, namespace: string, name: string): ApiObject | undefined {
    const object = this.get(resource, namespace, name);
    return object === undefined ? undefined : this.#write(resource, object, true);
  }

  /** The changes of a resource after a revision, oldest first. Throws 410 where they are forgotten. */
  changesSince(resource: string, revision: number): Change[] {
    if (revision < this.#horizon) throw gone(`too old resource version: ${revision} (${this.#horizon})`);
    if ((this.#shelves.get(resource)?.lastChange ?? 0) <= revision) return [];
    const rows = this.#since.all(resource, revision) as unknown as Row[];
    return rows.map((row) => {
      const before = this.#before.get(resource, row.namespace, row.name, row.rv) as unknown as Row | undefined;
      const old: ApiObject | undefined = before === undefined || before.deleted ? undefined : JSON.parse(before.value);
      return { revision: row.rv, deleted: row.deleted === 1, object: JSON.parse(row.value), json: row.value, old };
    });
  }

  /** Calls the listener after each write to a resource. Returns the end of it. */
  subscribe(resource: string, listener: ChangeListener): () => void {
    const { listeners } = this.#shelf(resource);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Forgets the history up to a revision; the current state stays. */
  compact(revision: number): void {
    const upTo = Math.min(revision, this.#revision);
    if (upTo <= this.#horizon) return;
    this.#database.exec('BEGIN');
    this.#database
      .prepare(
        `DELETE FROM log WHERE rv <= :upTo AND rv < (SELECT max(rv) FROM log AS n WHERE n.resource = log.resource
           AND n.namespace = log.namespace AND n.name = log.name AND n.rv <= :upTo)`,
      )
      .run({ upTo });
    this.#database.prepare('DELETE FROM log WHERE rv <= ? AND deleted = 1').run(upTo);
    this.#database.exec('DELETE FROM horizon');
    this.#database.prepare('INSERT INTO horizon VALUES (?)').run(upTo);
    this.#database.exec('COMMIT');
    this.#horizon = upTo;
  }

  close(): void {
    this.#database.close();
  }

  #load(): void {
    const newest = this.#database.prepare(
      `SELECT l.* FROM log AS l JOIN (SELECT max(rv) AS rv FROM log GROUP BY resource, namespace, name) USING (rv)
       ORDER BY l.rv`,
    );
    for (const row of newest.iterate() as Iterable<unknown> as Iterable<Row>) {
      const shelf = this.#shelf(row.resource);
      shelf.lastChange = row.rv;
      if (row.deleted === 0) shelf.objects.set(keyOf(row.namespace, row.name), JSON.parse(row.value));
    }
  }

  #write(resource: string, object: ApiObject, deleted: boolean): ApiObject {
    const { namespace = '', name = '' } = object.metadata;
    const shelf = this.#shelf(resource);
    const key = keyOf(namespace, name);
    const old = shelf.objects.get(key);
    const revision = this.#revision + 1;
    const stored: ApiObject = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    const json = JSON.stringify(stored);
    this.#insert.run(revision, resource, namespace, name, deleted ? 1 : 0, json);
    this.#revision = revision;
    shelf.lastChange = revision;
    if (deleted) shelf.objects.delete(key);
    else shelf.objects.set(key, stored);
    if (deleted || old === undefined) shelf.sorted = undefined;
    for (const listener of [...shelf.listeners]) listener({ revision, deleted, object: stored, json, old });
    return stored;
  }

  #shelf(resource: string): Shelf {
    let shelf = this.#shelves.get(resource);
    if (shelf === undefined) {
      shelf = { objects: new Map(), sorted: undefined, lastChange: 0, listeners: new Set() };
      this.#shelves.set(resource, shelf);
    }
    return shelf;
  }

  #number(query: string): number {
    return Number(this.#database.prepare(query).get()?.n ?? 0);
  }
}
