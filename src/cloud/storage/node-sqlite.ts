import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { SQLInputValue, StatementSync } from "node:sqlite"
import { CompiledQuery, SqliteAdapter, SqliteDriver, SqliteIntrospector, SqliteQueryCompiler } from "kysely"
import type { DatabaseConnection, Dialect, SqliteDatabase, SqliteStatement } from "kysely"
import { EkeyError } from "../../base/errors.ts"

/** Waiting for another process's lock stops this one's event loop, so it is short. */
const BUSY_TIMEOUT_MS = 2_000

/** Owner may read and write, nobody else; SQLite gives its `-wal` and `-shm` files the same mode. */
const PRIVATE_FILE = 0o600

/**
 * Opens or makes an SQLite file, or a database in memory with `":memory:"`. What is committed
 * survives a power cut (WAL, every commit synced). kysely owns the result and closes it.
 * @throws EkeyError ERR_STORE if it can't be opened or is no database; so do all later queries for every fault.
 */
export function sqliteDialect(file: string): Dialect {
  const database = translated(() => open(file))
  return {
    createDriver: () => new Driver(database),
    createAdapter: () => new Adapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

function open(file: string): DatabaseSync {
  const inMemory = file === ":memory:"
  if (!inMemory) closeSync(openSync(file, "a", PRIVATE_FILE))
  const database = new DatabaseSync(file)
  try {
    database.exec(`pragma busy_timeout = ${String(BUSY_TIMEOUT_MS)}`)
    const mode = database.prepare("pragma journal_mode = wal").get()?.["journal_mode"]
    if (!inMemory && mode !== "wal") throw new Error("the file system does not allow a write-ahead log")
    database.exec("pragma synchronous = full")
    database.exec("pragma foreign_keys = on")
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

class Driver extends SqliteDriver {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    super({ database: shim(database) })
    this.#database = database
  }

  /** Takes the write lock at once: a transaction that reads first and writes later fails without waiting if another process wrote in between. */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("begin immediate"))
  }

  /** A full disk makes SQLite roll back by itself; asking again would hide the reason behind an error of its own. */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#database.isOpen && this.#database.isTransaction) await super.rollbackTransaction(connection)
  }
}

class Adapter extends SqliteAdapter {
  /** So that a migration is applied and recorded in one transaction, whenever the process dies. */
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

/** The part of better-sqlite3's interface that kysely uses. */
function shim(database: DatabaseSync): SqliteDatabase {
  return {
    prepare: (sql) => statement(translated(() => database.prepare(sql))),
    close: () => { if (database.isOpen) translated(() => { database.close() }) },
  }
}

function statement(prepared: StatementSync): SqliteStatement {
  return {
    reader: prepared.columns().length > 0,
    all: (parameters) => translated(() => prepared.all(...bindable(parameters))),
    run: (parameters) => translated(() => prepared.run(...bindable(parameters))),
    *iterate(parameters) {
      try {
        yield* prepared.iterate(...bindable(parameters))
      } catch (cause) {
        throw fault(cause)
      }
    },
  }
}

/** Only what both databases store alike: a boolean or a date here is a defect of the caller. */
function bindable(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map((value) => {
    if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint") return value
    if (value instanceof Uint8Array) return value
    throw new TypeError(`a value of type ${typeof value} can't be stored`)
  })
}

function translated<T>(act: () => T): T {
  try {
    return act()
  } catch (cause) {
    throw fault(cause)
  }
}

/** SQLite's messages name tables and columns, never values. */
function fault(cause: unknown): EkeyError {
  return new EkeyError("ERR_STORE", "the database could not be read or written", { cause })
}
