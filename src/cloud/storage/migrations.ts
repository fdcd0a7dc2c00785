import { Migrator } from "kysely"
import type { Kysely, Migration } from "kysely"
import { EkeyError } from "../../base/errors.ts"
import type { Tables } from "./schema.ts"

/** In the order of their names. A released migration never changes; the next one gets the next number. */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  "0001-first-tables": { up: firstTables },
}

/** kysely's own table of what was applied. */
const APPLIED = "kysely_migration"

/**
 * Brings a database to this version's schema, forward only; nothing happens if it is there already.
 * @throws EkeyError ERR_STORE_VERSION if a newer version of this program wrote the database.
 * @throws EkeyError ERR_STORE if it can't be read or written; then it is as it was before the migration that failed.
 */
export async function migrate(db: Kysely<Tables>, migrations: Readonly<Record<string, Migration>> = MIGRATIONS): Promise<void> {
  for (const name of await appliedMigrations(db)) {
    if (!Object.hasOwn(migrations, name)) {
      throw new EkeyError("ERR_STORE_VERSION", "the store was written by a newer version", { cause: new Error(`unknown migration ${name}`) })
    }
  }
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve({ ...migrations }) },
    // kysely checks the order by wall time and would refuse the store if the clock was once set back between two upgrades.
    allowUnorderedMigrations: true,
  }).migrateToLatest()
  if (error instanceof EkeyError) throw error
  if (error !== undefined) throw new EkeyError("ERR_STORE", "the database could not be brought to this version", { cause: error })
}

async function appliedMigrations(db: Kysely<Tables>): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === APPLIED)) return []
  const rows = await db.withTables<{ [APPLIED]: { name: string } }>().selectFrom(APPLIED).select("name").execute()
  return rows.map((row) => row.name)
}

/**
 * Types that both databases know: `bytea` and `bigint` are PostgreSQL's, and SQLite, which goes by
 * the value, keeps bytes and 64-bit integers under any such name.
 */
async function firstTables(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable("users")
    .addColumn("tenant", "text", (column) => column.notNull())
    .addColumn("user", "text", (column) => column.notNull())
    .addColumn("state", "text", (column) => column.notNull())
    .addColumn("ekey_version", "bigint")
    .addColumn("created_at_ms", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("users_key", ["tenant", "user"])
    .execute()

  await db.schema.createTable("records")
    .addColumn("tenant", "text", (column) => column.notNull())
    .addColumn("user", "text", (column) => column.notNull())
    .addColumn("version", "bigint", (column) => column.notNull())
    .addColumn("sealed", "bytea", (column) => column.notNull())
    .addColumn("sequence", "bigint", (column) => column.notNull())
    .addColumn("created_at_ms", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("records_key", ["tenant", "user", "version"])
    .execute()
  await db.schema.createIndex("records_in_order").unique().on("records").columns(["tenant", "sequence"]).execute()

  await db.schema.createTable("record_sequences")
    .addColumn("tenant", "text", (column) => column.notNull().primaryKey())
    .addColumn("last_sequence", "bigint", (column) => column.notNull())
    .execute()

  await db.schema.createTable("operations")
    .addColumn("tenant", "text", (column) => column.notNull())
    .addColumn("id", "text", (column) => column.notNull())
    .addColumn("worker", "text", (column) => column.notNull())
    .addColumn("product", "text", (column) => column.notNull())
    .addColumn("workflow", "text", (column) => column.notNull())
    .addColumn("run", "text")
    .addColumn("state", "text", (column) => column.notNull())
    .addColumn("reason", "text")
    .addColumn("releases", "bigint", (column) => column.notNull())
    .addColumn("begun_at_ms", "bigint", (column) => column.notNull())
    .addColumn("ended_at_ms", "bigint")
    .addPrimaryKeyConstraint("operations_key", ["tenant", "id"])
    .execute()
  await db.schema.createIndex("operations_of_workers").on("operations").columns(["tenant", "worker", "state"]).execute()

  await db.schema.createTable("schedules")
    .addColumn("tenant", "text", (column) => column.notNull())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("user", "text", (column) => column.notNull())
    .addColumn("product", "text", (column) => column.notNull())
    .addColumn("workflow", "text", (column) => column.notNull())
    .addColumn("job", "text", (column) => column.notNull())
    .addColumn("cron", "text", (column) => column.notNull())
    .addColumn("parameters", "text", (column) => column.notNull())
    .addColumn("enabled", "integer", (column) => column.notNull())
    .addColumn("created_at_ms", "bigint", (column) => column.notNull())
    .addPrimaryKeyConstraint("schedules_key", ["tenant", "name"])
    .execute()

  await db.schema.createTable("runs")
    .addColumn("id", "text", (column) => column.notNull().primaryKey())
    .addColumn("tenant", "text", (column) => column.notNull())
    .addColumn("schedule", "text", (column) => column.notNull())
    .addColumn("user", "text", (column) => column.notNull())
    .addColumn("job", "text", (column) => column.notNull())
    .addColumn("worker", "text")
    .addColumn("state", "text", (column) => column.notNull())
    .addColumn("reason", "text")
    .addColumn("detail", "text")
    .addColumn("exit_code", "integer")
    .addColumn("statistics", "text")
    .addColumn("started_at_ms", "bigint", (column) => column.notNull())
    .addColumn("ended_at_ms", "bigint")
    .execute()
  await db.schema.createIndex("runs_of_schedules").on("runs").columns(["tenant", "schedule", "started_at_ms"]).execute()
  await db.schema.createIndex("runs_by_state").on("runs").columns(["state"]).execute()

  await db.schema.createTable("alarms")
    .addColumn("id", "text", (column) => column.notNull().primaryKey())
    .addColumn("tenant", "text")
    .addColumn("kind", "text", (column) => column.notNull())
    .addColumn("detail", "text", (column) => column.notNull())
    .addColumn("at_ms", "bigint", (column) => column.notNull())
    .execute()
  await db.schema.createIndex("alarms_by_time").on("alarms").columns(["at_ms"]).execute()
}
