import { Kysely } from "kysely"
import type { Clock } from "../../base/clock.ts"
import { SqlAlarms } from "./alarms.ts"
import type { Alarms } from "./alarms.ts"
import { migrate } from "./migrations.ts"
import { sqliteDialect } from "./node-sqlite.ts"
import { SqlOperations } from "./operations.ts"
import type { Operations } from "./operations.ts"
import { SqlRecords } from "./records.ts"
import type { Records } from "./records.ts"
import { SqlRuns } from "./runs.ts"
import type { Runs } from "./runs.ts"
import { SqlSchedules } from "./schedules.ts"
import type { Schedules } from "./schedules.ts"
import type { Tables } from "./schema.ts"
import { SqlUsers } from "./users.ts"
import type { Users } from "./users.ts"

/** All that the cloud stores. What a method has written is durable when its promise resolves. */
export interface Database {
  readonly users: Users
  readonly records: Records
  readonly operations: Operations
  readonly schedules: Schedules
  readonly runs: Runs
  readonly alarms: Alarms
  /** Idempotent. Nothing may be called afterwards. */
  close(): Promise<void>
}

export interface DatabaseOptions {
  /** A path in a folder that exists, or `":memory:"` for one that lives as long as it is open. */
  readonly file: string
  readonly clock: Clock
}

/**
 * Opens the embedded database and brings it to this version's schema; makes it if there is none.
 * Other processes may have it open too; within one process open a file once: a second handle would
 * wait for the first one's transaction with the event loop stopped, until it gives up.
 * @throws EkeyError ERR_STORE if it can't be opened or is damaged, ERR_STORE_VERSION if a newer version wrote it.
 */
export async function openDatabase({ file, clock }: DatabaseOptions): Promise<Database> {
  const db = new Kysely<Tables>({ dialect: sqliteDialect(file) })
  try {
    await migrate(db)
  } catch (error) {
    await db.destroy()
    throw error
  }
  return {
    users: new SqlUsers(db, clock),
    records: new SqlRecords(db, clock),
    operations: new SqlOperations(db, clock),
    schedules: new SqlSchedules(db, clock),
    runs: new SqlRuns(db, clock),
    alarms: new SqlAlarms(db, clock),
    close: () => db.destroy(),
  }
}
