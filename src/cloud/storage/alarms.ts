import { randomBytes } from "node:crypto"
import type { Kysely } from "kysely"
import { z } from "zod"
import { toBase64url } from "../../base/bytes.ts"
import type { Clock } from "../../base/clock.ts"
import { boundText, parseRow } from "./rows.ts"
import type { Tables } from "./schema.ts"

const AlarmRow = z.object({ id: z.string(), tenant: z.string().nullable(), kind: z.string(), detail: z.string(), at_ms: z.int() })
  .transform(({ at_ms: atMs, ...row }) => ({ ...row, atMs }))

/** Something that an admin must see. `tenant` is null for what concerns the whole cloud. */
export type Alarm = Readonly<z.output<typeof AlarmRow>>

export interface NewAlarm {
  readonly tenant: string | null
  /** Countable, like a log event's name: stable, lower case, no values in it. */
  readonly kind: string
  /** For people, never key material; cut after 1,000 characters. */
  readonly detail: string
}

/** Every method throws ERR_STORE for I/O faults. */
export interface Alarms {
  /** Durable when it resolves. */
  raise(alarm: NewAlarm): Promise<Alarm>
  /** The latest `limit`, newest first: a tenant's own, or with `null` those of everybody. */
  list(tenant: string | null, limit: number): Promise<Alarm[]>
}

export class SqlAlarms implements Alarms {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async raise({ tenant, kind, detail }: NewAlarm): Promise<Alarm> {
    const alarm = { id: toBase64url(randomBytes(16)), tenant, kind, detail: boundText(detail), atMs: this.#clock.now() }
    const { atMs, ...row } = alarm
    await this.#db.insertInto("alarms").values({ ...row, at_ms: atMs }).execute()
    return alarm
  }

  async list(tenant: string | null, limit: number): Promise<Alarm[]> {
    const latest = this.#db.selectFrom("alarms").selectAll().orderBy("at_ms", "desc").orderBy("id", "desc").limit(limit)
    const rows = await (tenant === null ? latest : latest.where("tenant", "=", tenant)).execute()
    return rows.map((row) => parseRow("alarms", AlarmRow, row))
  }
}
