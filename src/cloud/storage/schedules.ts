import type { Kysely } from "kysely"
import { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { Product, Workflow } from "../../wire/messages/workflows.ts"
import { json, parseRow } from "./rows.ts"
import type { Tables } from "./schema.ts"

const ScheduleRow = z.object({
  tenant: z.string(), name: z.string(), user: z.string(), product: Product, workflow: Workflow, job: z.string(), cron: z.string(),
  parameters: json(z.record(z.string(), z.string())), enabled: z.union([z.literal(0), z.literal(1)]), created_at_ms: z.int(),
}).transform(({ enabled, created_at_ms: createdAtMs, ...row }) => ({ ...row, enabled: enabled === 1, createdAtMs }))

/** When which job runs for which user. What the job executes is the worker's own config. */
export type Schedule = Readonly<z.output<typeof ScheduleRow>>

export type NewSchedule = Omit<Schedule, "createdAtMs">

/** Every method throws ERR_STORE for I/O faults. */
export interface Schedules {
  /** @throws EkeyError ERR_SCHEDULE if the tenant has one of that name. */
  add(schedule: NewSchedule): Promise<void>
  /** Its runs are kept. @returns false if there was none. */
  remove(tenant: string, name: string): Promise<boolean>
  /** @returns `null` if absent. */
  find(tenant: string, name: string): Promise<Schedule | null>
  /** Of one tenant, or without an argument of all; in the order of tenants and names. */
  list(tenant?: string): Promise<Schedule[]>
}

export class SqlSchedules implements Schedules {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async add({ tenant, name, user, product, workflow, job, cron, parameters, enabled }: NewSchedule): Promise<void> {
    const { numInsertedOrUpdatedRows } = await this.#db.insertInto("schedules")
      .values({
        tenant, name, user, product, workflow, job, cron,
        parameters: JSON.stringify(parameters), enabled: enabled ? 1 : 0, created_at_ms: this.#clock.now(),
      })
      .onConflict((conflict) => conflict.columns(["tenant", "name"]).doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows !== 1n) throw new EkeyError("ERR_SCHEDULE", "a schedule of that name exists already")
  }

  async remove(tenant: string, name: string): Promise<boolean> {
    const { numDeletedRows } = await this.#db.deleteFrom("schedules").where("tenant", "=", tenant).where("name", "=", name).executeTakeFirstOrThrow()
    return numDeletedRows === 1n
  }

  async find(tenant: string, name: string): Promise<Schedule | null> {
    const row = await this.#db.selectFrom("schedules").selectAll().where("tenant", "=", tenant).where("name", "=", name).executeTakeFirst()
    return row === undefined ? null : parseRow("schedules", ScheduleRow, row)
  }

  async list(tenant?: string): Promise<Schedule[]> {
    const all = this.#db.selectFrom("schedules").selectAll().orderBy("tenant").orderBy("name")
    const rows = await (tenant === undefined ? all : all.where("tenant", "=", tenant)).execute()
    return rows.map((row) => parseRow("schedules", ScheduleRow, row))
  }
}
