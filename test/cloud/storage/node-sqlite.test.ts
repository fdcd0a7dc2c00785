import assert from "node:assert/strict"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Kysely, sql } from "kysely"
import { sqliteDialect } from "../../../src/cloud/storage/node-sqlite.ts"

interface TestTables { things: { id: number; bytes: Uint8Array | null } }

describe("kysely over node:sqlite", () => {
  let folder: string
  let file: string
  let db: Kysely<TestTables>

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-sqlite-"))
    file = join(folder, "test.db")
    db = new Kysely<TestTables>({ dialect: sqliteDialect(file) })
    await db.schema.createTable("things").addColumn("id", "bigint", (column) => column.primaryKey()).addColumn("bytes", "bytea").execute()
  })

  afterEach(async () => {
    await db.destroy()
    await rm(folder, { recursive: true, force: true })
  })

  async function pragma(name: string): Promise<unknown> {
    const { rows } = await sql.raw(`pragma ${name}`).execute(db)
    const row = rows[0]
    return typeof row === "object" && row !== null ? Object.values(row)[0] : undefined
  }

  it("syncs every commit to a write-ahead log, enforces foreign keys and waits for a lock", async () => {
    assert.equal(await pragma("journal_mode"), "wal")
    assert.equal(await pragma("synchronous"), 2)
    assert.equal(await pragma("foreign_keys"), 1)
    assert.equal(await pragma("busy_timeout"), 2_000)
  })

  it("keeps times and bytes exactly", async () => {
    const id = 8_640_000_000_000_000
    await db.insertInto("things").values({ id, bytes: Uint8Array.of(0, 255) }).execute()
    const row = await db.selectFrom("things").selectAll().executeTakeFirstOrThrow()
    assert.equal(row.id, id)
    assert.deepEqual([...row.bytes ?? []], [0, 255])
    assert.deepEqual((await sql<{ types: string }>`select typeof(id) || ' ' || typeof(bytes) as types from things`.execute(db)).rows[0]?.types, "integer blob")
  })

  it("streams rows", async () => {
    await db.insertInto("things").values([{ id: 1, bytes: null }, { id: 2, bytes: null }]).execute()
    const ids: number[] = []
    for await (const row of db.selectFrom("things").selectAll().orderBy("id").stream()) ids.push(row.id)
    assert.deepEqual(ids, [1, 2])
  })

  it("answers ERR_STORE for a fault, with the vendor's error as the cause", async () => {
    for (const act of [
      () => sql`select * from missing`.execute(db),
      () => db.insertInto("things").values([{ id: 1, bytes: null }, { id: 1, bytes: null }]).execute(),
      () => db.insertInto("things").values({ id: 1, bytes: sql`${true}` }).execute(),
    ]) {
      await assert.rejects(act, (error: Error & { code?: string }) => {
        assert.equal(error.code, "ERR_STORE")
        assert.ok(error.cause instanceof Error)
        return true
      })
    }
  })

  it("rolls back a transaction that throws", async () => {
    await assert.rejects(db.transaction().execute(async (transaction) => {
      await transaction.insertInto("things").values({ id: 1, bytes: null }).execute()
      throw new Error("changed my mind")
    }), /changed my mind/)
    assert.deepEqual(await db.selectFrom("things").selectAll().execute(), [])
  })

  it("holds the write lock from a transaction's first statement on", async () => {
    const other = new Kysely<TestTables>({ dialect: sqliteDialect(file) })
    try {
      await sql`pragma busy_timeout = 0`.execute(other)
      await db.transaction().execute(async (transaction) => {
        await transaction.selectFrom("things").selectAll().execute()
        await assert.rejects(other.insertInto("things").values({ id: 1, bytes: null }).execute(), { code: "ERR_STORE" })
        await transaction.insertInto("things").values({ id: 2, bytes: null }).execute()
      })
      await other.insertInto("things").values({ id: 1, bytes: null }).execute()
    } finally {
      await other.destroy()
    }
  })

  it("names a full disk, stores nothing of the transaction, and works again when there is space", async () => {
    await sql`pragma max_page_count = 20`.execute(db)
    await assert.rejects(db.transaction().execute(async (transaction) => {
      await transaction.insertInto("things").values({ id: 1, bytes: null }).execute()
      await transaction.insertInto("things").values({ id: 2, bytes: new Uint8Array(1_000_000) }).execute()
    }), (error: Error & { code?: string }) => {
      assert.equal(error.code, "ERR_STORE")
      assert.match(String(error.cause), /full/)
      return true
    })
    assert.deepEqual(await db.selectFrom("things").selectAll().execute(), [])
    await sql`pragma max_page_count = 100000`.execute(db)
    await db.insertInto("things").values({ id: 3, bytes: new Uint8Array(1_000_000) }).execute()
  })
})
