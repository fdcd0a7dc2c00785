import assert from "node:assert/strict"
import { Kysely } from "kysely"
import type { Migration } from "kysely"
import { MIGRATIONS, migrate } from "../../../src/cloud/storage/migrations.ts"
import { sqliteDialect } from "../../../src/cloud/storage/node-sqlite.ts"
import type { Tables } from "../../../src/cloud/storage/schema.ts"

const LATER: Migration = {
  up: async (db) => { await db.schema.createTable("later").addColumn("a", "text").execute() },
}

describe("migrations of the cloud's database", () => {
  let db: Kysely<Tables>

  beforeEach(() => { db = new Kysely<Tables>({ dialect: sqliteDialect(":memory:") }) })

  afterEach(async () => { await db.destroy() })

  async function tables(): Promise<string[]> {
    return (await db.introspection.getTables()).map((table) => table.name).sort()
  }

  async function applied(): Promise<string[]> {
    const rows = await db.withTables<{ kysely_migration: { name: string } }>().selectFrom("kysely_migration").select("name").execute()
    return rows.map((row) => row.name)
  }

  it("make every table from nothing", async () => {
    await migrate(db)
    assert.deepEqual(await tables(), ["alarms", "operations", "record_sequences", "records", "runs", "schedules", "users"])
  })

  it("do nothing the second time, and keep what is stored", async () => {
    await migrate(db)
    await db.insertInto("record_sequences").values({ tenant: "acme", last_sequence: 3 }).execute()
    await migrate(db)
    assert.deepEqual(await applied(), Object.keys(MIGRATIONS))
    assert.equal((await db.selectFrom("record_sequences").selectAll().execute()).length, 1)
  })

  it("apply only what is new to an older database", async () => {
    await migrate(db)
    await migrate(db, { ...MIGRATIONS, "0002-later": LATER })
    assert.deepEqual(await applied(), [...Object.keys(MIGRATIONS), "0002-later"])
    assert.ok((await tables()).includes("later"))
  })

  it("refuse a database that a newer version wrote, and leave it as it is", async () => {
    await migrate(db, { ...MIGRATIONS, "9999-newer": LATER })
    await assert.rejects(migrate(db), { code: "ERR_STORE_VERSION", retryable: false })
    assert.deepEqual(await applied(), [...Object.keys(MIGRATIONS), "9999-newer"])
  })

  it("go on when the clock was set back between two of them", async () => {
    const migrations = { ...MIGRATIONS, "0002-later": LATER }
    await migrate(db, migrations)
    await db.withTables<{ kysely_migration: { name: string; timestamp: string } }>()
      .updateTable("kysely_migration").set({ timestamp: "2000-01-01T00:00:00.000Z" }).where("name", "=", "0002-later").execute()
    await migrate(db, migrations)
  })

  it("leave nothing of one that fails midway, so that it can run again", async () => {
    const failing: Migration = {
      up: async (transaction) => {
        await LATER.up(transaction)
        throw new Error("the process died here")
      },
    }
    await migrate(db)
    const before = await tables()
    await assert.rejects(migrate(db, { ...MIGRATIONS, "0002-later": failing }), { code: "ERR_STORE" })
    assert.deepEqual(await tables(), before)
    await migrate(db, { ...MIGRATIONS, "0002-later": LATER })
    assert.ok((await tables()).includes("later"))
  })
})
