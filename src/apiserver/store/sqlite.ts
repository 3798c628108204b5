/** All SQL of the store: SQLite databases in memory (sql.js), filled or read as a whole; nothing here waits. */
import initSqlJs from 'sql.js';
import type { Database, SqlJsStatic, SqlValue, Statement } from 'sql.js';
// by path, because test bundles leave package imports alone and Node cannot require WebAssembly
import { load as loadWasm } from '../../../node_modules/sql.js/dist/sql-wasm.wasm';
import { releaseMemory } from '../../lib/release-memory.ts';
import schema from './schema.sql';
import type { HistoryEvent } from './history.ts';
import { StoredObject } from './store.ts';
import type { ChangeType } from './store.ts';

/** A row of the objects table. */
export interface ObjectRow {
  resource: string;
  name: string;
  revision: number;
  json: string;
}

const STATEMENTS = {
  // texts as bytes: the library copies those at once, and texts character by character
  putObject: 'INSERT INTO objects VALUES (?, ?, ?, CAST(? AS TEXT))',
  setMeta: 'UPDATE meta SET value = ? WHERE key = ?',
  getMeta: 'SELECT value FROM meta WHERE key = ?',
  objects: 'SELECT resource, name, revision, value FROM objects ORDER BY resource, name',
  events: 'SELECT revision, resource, name, type, at, value, previous_labels FROM events ORDER BY revision',
  integrity: 'PRAGMA integrity_check',
  pageCount: 'PRAGMA page_count',
  lostValues: `SELECT count(*) FROM events AS e WHERE value = '' AND NOT EXISTS (SELECT * FROM objects AS o
    WHERE o.resource = e.resource AND o.name = e.name AND o.revision = e.revision)`,
  eventRange: 'SELECT count(*), coalesce(min(revision), 0), coalesce(max(revision), 0) FROM events',
} as const;

let library: Promise<SqlJsStatic> | undefined;
/** The database without rows. */
let emptyImage: Uint8Array | undefined;

/** Compiles SQLite; the library, given the file, keeps hold of it. */
async function loadLibrary(): Promise<SqlJsStatic> {
  const wasm = loadWasm();
  const loaded = await initSqlJs({ wasmBinary: wasm.buffer });
  releaseMemory(wasm.buffer);
  return loaded;
}

/** Where the header of a SQLite file has its page size and how many pages it has (file format, 1.3). */
const PAGE_SIZE_AT = 16;
const PAGE_COUNT_AT = 28;

/** Pages (of 4 KiB) that SQLite keeps in memory beside its file, which is in memory as well. */
const CACHE_PAGES = 64;

/**
 * Bytes that the library is given for good: it takes a `slice` of what it gets for the file that it keeps in memory, and a
 * slice of these is themselves. So there is no second copy, and what SQLite has written can be read here.
 */
class FileBytes extends Uint8Array<ArrayBuffer> {
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array; // of parts
  }

  constructor(length: number) {
    super(new ArrayBuffer(length));
  }

  override slice(): Uint8Array<ArrayBuffer> {
    return this;
  }
}

/** The file at the beginning of `bytes`; undefined when they do not hold all of it. */
function wholeFile(bytes: Uint8Array, pages: number): Uint8Array<ArrayBuffer> | undefined {
  const header = new DataView(bytes.buffer, bytes.byteOffset);
  const length = pages * header.getUint16(PAGE_SIZE_AT);
  return header.getUint32(PAGE_COUNT_AT) === pages && length <= bytes.length
    ? new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, length)
    : undefined;
}

/** The database. */
export class SqliteImage {
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();
  /** The file, of a database made here, as long as it did not outgrow them. */
  readonly #bytes: FileBytes | undefined;

  private constructor(database: Database, bytes?: FileBytes) {
    this.#database = database;
    this.#bytes = bytes;
    try {
      // an image is filled once and used only when that went well: there is nothing to roll back to
      database.run('PRAGMA journal_mode = OFF');
      // rows come and go in their order, so no page is needed twice; the library never gives memory back
      database.run(`PRAGMA cache_size = ${CACHE_PAGES}`);
    } catch (err) {
      database.close(); // its file stays in memory otherwise
      throw err;
    }
  }

  /** Opens an exported image. Throws what SQLite says when it is no database. */
  static async open(image: Uint8Array): Promise<SqliteImage> {
    const { Database } = await (library ??= loadLibrary());
    return new SqliteImage(new Database(image));
  }

  /**
   * Opens a database with the schema and no rows. `expectedBytes` is how long it will be, about: a file in memory that
   * grows is copied again and again.
   */
  static async create(expectedBytes: number): Promise<SqliteImage> {
    const { Database } = await (library ??= loadLibrary());
    if (emptyImage === undefined) {
      const database = new Database();
      database.run(schema);
      emptyImage = database.export();
      database.close();
    }
    const bytes = new FileBytes(Math.max(expectedBytes, emptyImage.length));
    bytes.set(emptyImage); // SQLite counts the pages by the header and takes what follows as it needs it
    return new SqliteImage(new Database(bytes), bytes);
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

  /** Runs `BEGIN` and `COMMIT`. */
  control(sql: 'BEGIN' | 'COMMIT'): void {
    this.#run(sql, []);
  }

  meta(key: 'format' | 'revision' | 'floor'): number {
    return Number(this.#rows(STATEMENTS.getMeta, [key])[0]?.[0] ?? Number.NaN);
  }

  setMeta(key: 'revision' | 'floor', value: number): void {
    this.#run(STATEMENTS.setMeta, [value, key]);
  }

  /** Stores an object. */
  putObject({ resource, name, revision, json }: ObjectRow): void {
    this.#run(STATEMENTS.putObject, [resource, name, revision, Buffer.from(json)]);
  }

  objects(): ObjectRow[] {
    return this.#rows(STATEMENTS.objects, []).map(([resource, name, revision, json]) => ({
      resource: String(resource),
      name: String(name),
      revision: Number(revision),
      json: String(json),
    }));
  }

  /** All events, oldest first: of a checkpoint that has some. `known` gives objects that are in memory already, by their revision. */
  *events(known: ReadonlyMap<number, StoredObject>): Generator<HistoryEvent> {
    const statement = this.#statement(STATEMENTS.events);
    statement.bind([]);
    while (statement.step()) {
      const [revision, resource, name, type, at, json, labels] = statement.get();
      const stored =
        known.get(Number(revision)) ??
        new StoredObject(String(resource), String(name), Number(revision), String(json));
      const previousLabels =
        typeof labels === 'string' ? (JSON.parse(labels) as Record<string, string>) : undefined;
      yield { change: { type: type as ChangeType, stored, previousLabels }, at: Number(at) };
    }
    statement.reset();
  }

  /** What SQLite finds wrong with the database; empty when it is sound. */
  integrityProblems(): string[] {
    return this.#rows(STATEMENTS.integrity, [])
      .map(([text]) => String(text))
      .filter((text) => text !== 'ok');
  }

  /** How many events mean the value of an object that is not there. */
  lostValues(): number {
    return Number(this.#rows(STATEMENTS.lostValues, [])[0]?.[0] ?? 0);
  }

  /** How many events there are, and the first and the last of their revisions; zeros when there are none. */
  eventRange(): { count: number; first: number; last: number } {
    const [count, first, last] = this.#rows(STATEMENTS.eventRange, [])[0] ?? [];
    return { count: Number(count ?? 0), first: Number(first ?? 0), last: Number(last ?? 0) };
  }

  /** The whole database as a SQLite file, in memory of its own from then on, and closes it. Not inside a transaction. */
  take(): Uint8Array<ArrayBuffer> {
    const pages = Number(this.#rows(STATEMENTS.pageCount, [])[0]?.[0]);
    const written = this.#bytes === undefined ? undefined : wholeFile(this.#bytes, pages);
    const file = written ?? wholeFile(this.#database.export(), pages);
    this.close();
    if (file === undefined) throw new Error(`SQLite's file does not have the ${pages} pages it says it has`);
    return file;
  }

  close(): void {
    this.#database.close();
  }
}
