import type { Kysely, Transaction } from "kysely"
import { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { asBuffer } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import { parseRow } from "./rows.ts"
import type { Tables } from "./schema.ts"

/** Rows of one statement: six parameters each stay below the limits of both databases. */
const ROWS_PER_STATEMENT = 500

const RecordRow = z.object({
  user: z.string(), version: z.int().min(1), sealed: z.instanceof(Uint8Array), sequence: z.int().min(1), created_at_ms: z.int(),
}).transform(({ user, version, sealed, sequence, created_at_ms: createdAtMs }) => ({ user, version, sealed, sequence, createdAtMs }))

/** A sealed ekey record as its connector made it; nothing here can open it. */
export interface BlindRecord {
  readonly user: string
  readonly version: number
  readonly sealed: Uint8Array
}

/** `sequence` counts a tenant's records from 1, without gaps, in the order in which they became visible. */
export type StoredRecord = Readonly<z.output<typeof RecordRow>>

/** The blind copies of every tenant's sealed ekey records. Every method throws ERR_STORE for I/O faults. */
export interface Records {
  /**
   * All of the batch or nothing, durable when it resolves. Repeating it changes nothing.
   * @returns how many were not known before.
   * @throws EkeyError ERR_RECORD_CONFLICT if other bytes are stored, or offered in the same batch,
   * for a user and version. The cause names which.
   */
  put(tenant: string, records: readonly BlindRecord[]): Promise<{ readonly stored: number }>
  /** Up to `limit` records behind `sequence`, in order; begin with 0, go on with the last one's. */
  since(tenant: string, sequence: number, limit: number): Promise<StoredRecord[]>
  count(tenant: string): Promise<number>
}

export class SqlRecords implements Records {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async put(tenant: string, records: readonly BlindRecord[]): Promise<{ readonly stored: number }> {
    const offered = new Map<string, BlindRecord>()
    for (const record of records) {
      const key = keyOf(record)
      requireSame(offered.get(key), record)
      offered.set(key, record)
    }
    if (offered.size === 0) return { stored: 0 }
    return this.#db.transaction().execute(async (transaction) => {
      const last = await lockSequence(transaction, tenant)
      await dropKnown(transaction, tenant, offered)
      await this.#insert(transaction, tenant, last, [...offered.values()])
      return { stored: offered.size }
    })
  }

  async #insert(transaction: Transaction<Tables>, tenant: string, lastSequence: number, records: readonly BlindRecord[]): Promise<void> {
    if (records.length === 0) return
    const createdAtMs = this.#clock.now()
    const rows = records.map(({ user, version, sealed }, index) => (
      { tenant, user, version, sealed, sequence: lastSequence + 1 + index, created_at_ms: createdAtMs }
    ))
    for (const some of chunks(rows)) await transaction.insertInto("records").values(some).execute()
    await transaction.updateTable("record_sequences")
      .set({ last_sequence: lastSequence + records.length })
      .where("tenant", "=", tenant)
      .execute()
  }

  async since(tenant: string, sequence: number, limit: number): Promise<StoredRecord[]> {
    const rows = await this.#db.selectFrom("records").selectAll()
      .where("tenant", "=", tenant).where("sequence", ">", sequence)
      .orderBy("sequence").limit(limit)
      .execute()
    return rows.map((row) => parseRow("records", RecordRow, row))
  }

  async count(tenant: string): Promise<number> {
    const row = await this.#db.selectFrom("records")
      .select((select) => select.fn.countAll().as("rows"))
      .where("tenant", "=", tenant)
      .executeTakeFirstOrThrow()
    return Number(row.rows)
  }
}

/**
 * The tenant's last sequence, with its row locked until the transaction ends: two writers that both
 * read it first would give one number twice, and a reader could see 8 before 7.
 */
async function lockSequence(transaction: Transaction<Tables>, tenant: string): Promise<number> {
  await transaction.insertInto("record_sequences")
    .values({ tenant, last_sequence: 0 })
    .onConflict((conflict) => conflict.column("tenant").doUpdateSet((set) => ({ last_sequence: set.ref("record_sequences.last_sequence") })))
    .execute()
  const row = await transaction.selectFrom("record_sequences").select("last_sequence").where("tenant", "=", tenant).executeTakeFirstOrThrow()
  return parseRow("record_sequences", z.object({ last_sequence: z.int().min(0) }), row).last_sequence
}

/** Removes from `offered` what is stored already with the same bytes. */
async function dropKnown(transaction: Transaction<Tables>, tenant: string, offered: Map<string, BlindRecord>): Promise<void> {
  const users = [...new Set([...offered.values()].map((record) => record.user))]
  for (const some of chunks(users)) {
    const rows = await transaction.selectFrom("records").selectAll().where("tenant", "=", tenant).where("user", "in", some).execute()
    for (const row of rows) {
      const known = parseRow("records", RecordRow, row)
      const key = keyOf(known)
      const record = offered.get(key)
      if (record === undefined) continue
      requireSame(known, record)
      offered.delete(key)
    }
  }
}

function keyOf(record: { readonly user: string; readonly version: number }): string {
  return `${String(record.version)} ${record.user}`
}

function requireSame(known: BlindRecord | undefined, record: BlindRecord): void {
  if (known === undefined || asBuffer(known.sealed).equals(record.sealed)) return
  throw new EkeyError("ERR_RECORD_CONFLICT", "another record is stored for this version of the ekey", {
    cause: new Error(`user ${record.user}, version ${String(record.version)}`),
  })
}

function* chunks<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += ROWS_PER_STATEMENT) yield items.slice(at, at + ROWS_PER_STATEMENT)
}
