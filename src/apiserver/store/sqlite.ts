/** All SQL of the store: one SQLite database in memory (sql.js). Only the committer writes; nothing here waits. */
import initSqlJs from 'sql.js';
import type { Database, SqlJsStatic, SqlValue, Statement } from 'sql.js';
// by path, because test bundles leave package imports alone and Node cannot require WebAssembly
import wasmBinary from '../../../node_modules/sql.js/dist/sql-wasm.wasm';
import schema from './schema.sql';
import { StoredObject } from './store.ts';
import type { Change, ChangeType } from './store.ts';

/** A row of the objects table. */
export interface ObjectRow {
  resource: string;
  name: string;
  revision: number;
  json: string;
}

/** A row of the events table. */
export interface EventRow extends ObjectRow {
  type: ChangeType;
  at: number;
  previousLabels: string | null;
}

const STATEMENTS = {
  putObject: 'INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)',
  removeObject: 'DELETE FROM objects WHERE resource = ? AND name = ?',
  addEvent: 'INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)',
  setMeta: 'UPDATE meta SET value = ? WHERE key = ?',
  getMeta: 'SELECT value FROM meta WHERE key = ?',
  objects: 'SELECT resource, name, revision, value FROM objects ORDER BY resource, name',
  history:
    'SELECT revision, name, type, value, previous_labels FROM events WHERE revision > ? AND revision <= ? AND resource = ? ORDER BY revision LIMIT ?',
  historySize: 'SELECT count(*), coalesce(sum(length(value)), 0), coalesce(min(at), 0) FROM events',
  oldestEvents: 'SELECT revision, at, length(value) FROM events ORDER BY revision LIMIT ?',
  integrity: 'PRAGMA integrity_check',
  eventRange: 'SELECT count(*), coalesce(min(revision), 0), coalesce(max(revision), 0) FROM events',
  dropEvents: 'DELETE FROM events WHERE revision <= ?',
} as const;

let library: Promise<SqlJsStatic> | undefined;

/** The database. */
export class SqliteImage {
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();

  private constructor(database: Database) {
    this.#database = database;
  }

  /** Opens an exported image, or an empty database with the schema. Throws what SQLite says when it is no database. */
  static async open(image?: Uint8Array): Promise<SqliteImage> {
    library ??= initSqlJs({ wasmBinary: wasmBinary.buffer });
    const { Database } = await library;
    const database = new Database(image);
    // the image is written as a whole by a checkpoint, so SQLite needs no journal for crashes, only for rollback
    database.run('PRAGMA journal_mode = MEMORY');
    if (image === undefined) database.run(schema);
    return new SqliteImage(database);
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, values: SqlValue[]): void {
    this.#statement(sql).run(values);
  }

  #rows(sql: string, values: SqlValue[]): SqlValue[][] {
    const statement = this.#statement(sql);
    const rows: SqlValue[][] = [];
    statement.bind(values);
    while (statement.step()) rows.push(statement.get());
    statement.reset();
    return rows;
  }

  /** Runs `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT` and the like. */
  control(sql: string): void {
    this.#run(sql, []);
  }

  meta(key: 'format' | 'revision' | 'floor'): number {
    return Number(this.#rows(STATEMENTS.getMeta, [key])[0]?.[0] ?? Number.NaN);
  }

  setMeta(key: 'revision' | 'floor', value: number): void {
    this.#run(STATEMENTS.setMeta, [value, key]);
  }

  /** Stores a change: the event, and the object's new state or its absence. */
  apply(event: EventRow): void {
    const { resource, name, revision, json, type, at, previousLabels } = event;
    if (type === 'DELETED') this.#run(STATEMENTS.removeObject, [resource, name]);
    else this.#run(STATEMENTS.putObject, [resource, name, revision, json]);
    this.#run(STATEMENTS.addEvent, [revision, resource, name, type, at, json, previousLabels]);
  }

  objects(): ObjectRow[] {
    return this.#rows(STATEMENTS.objects, []).map(([resource, name, revision, json]) => ({
      resource: String(resource),
      name: String(name),
      revision: Number(revision),
      json: String(json),
    }));
  }

  /** Changes of a resource with `after` < revision <= `upTo`, oldest first. */
  history(resource: string, after: number, upTo: number, limit: number): Change[] {
    return this.#rows(STATEMENTS.history, [after, upTo, resource, limit]).map(
      ([revision, name, type, json, previousLabels]) => ({
        type: type as ChangeType,
        stored: new StoredObject(resource, String(name), Number(revision), String(json)),
        previousLabels:
          typeof previousLabels === 'string'
            ? (JSON.parse(previousLabels) as Record<string, string>)
            : undefined,
      }),
    );
  }

  historySize(): { events: number; bytes: number; oldestAt: number } {
    const [events, bytes, oldestAt] = this.#rows(STATEMENTS.historySize, [])[0] ?? [];
    return { events: Number(events ?? 0), bytes: Number(bytes ?? 0), oldestAt: Number(oldestAt ?? 0) };
  }

  oldestEvents(limit: number): { revision: number; at: number; bytes: number }[] {
    return this.#rows(STATEMENTS.oldestEvents, [limit]).map(([revision, at, bytes]) => ({
      revision: Number(revision),
      at: Number(at),
      bytes: Number(bytes),
    }));
  }

  /** What SQLite finds wrong with the database; empty when it is sound. */
  integrityProblems(): string[] {
    return this.#rows(STATEMENTS.integrity, [])
      .map(([text]) => String(text))
      .filter((text) => text !== 'ok');
  }

  /** How many events there are, and the first and the last of their revisions; zeros when there are none. */
  eventRange(): { count: number; first: number; last: number } {
    const [count, first, last] = this.#rows(STATEMENTS.eventRange, [])[0] ?? [];
    return { count: Number(count ?? 0), first: Number(first ?? 0), last: Number(last ?? 0) };
  }

  /** Stores an object without an event; for images that are made from a backup. */
  putObject({ resource, name, revision, json }: ObjectRow): void {
    this.#run(STATEMENTS.putObject, [resource, name, revision, json]);
  }

  /** Forgets events up to and with `floor`. */
  dropEvents(floor: number): void {
    this.#run(STATEMENTS.dropEvents, [floor]);
    this.setMeta('floor', floor);
  }

  /** The whole database as a SQLite file; copies it, so never once a write. Not inside a transaction. */
  export(): Uint8Array {
    return this.#database.export();
  }

  close(): void {
    this.#database.close();
  }
}
