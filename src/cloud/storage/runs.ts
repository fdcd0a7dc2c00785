import type { Kysely } from "kysely"
import { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { Statistics } from "../../wire/messages/operation.ts"
import { boundText, json, parseRow, ReasonCode } from "./rows.ts"
import type { Tables } from "./schema.ts"

const RunRow = z.object({
  id: z.string(), tenant: z.string(), schedule: z.string(), user: z.string(), job: z.string(), worker: z.string().nullable(),
  state: z.enum(["starting", "running", "succeeded", "failed"]), reason: ReasonCode.nullable(), detail: z.string().nullable(),
  exit_code: z.int().nullable(), statistics: json(Statistics).nullable(), started_at_ms: z.int(), ended_at_ms: z.int().nullable(),
}).transform(({ exit_code: exitCode, started_at_ms: startedAtMs, ended_at_ms: endedAtMs, ...row }) => ({ ...row, exitCode, startedAtMs, endedAtMs }))

/** One run of a schedule: `starting` until a worker has it, then `running`, then ended for good. */
export type Run = Readonly<z.output<typeof RunRow>>

export type NewRun = Pick<Run, "id" | "tenant" | "schedule" | "user" | "job">

export interface RunSuccess {
  readonly exitCode: number | null
  readonly statistics: Statistics | null
}

export interface RunFailure {
  /** An error code. */
  readonly reason: string
  /** For people; cut after 1,000 characters. */
  readonly detail: string | null
  readonly exitCode?: number | null
}

/** Every method throws ERR_STORE for I/O faults, and where a run's id is taken. */
export interface Runs {
  start(run: NewRun): Promise<void>
  /** From `starting` to `running`. @returns false, changing nothing, from any other state or if unknown. */
  assign(id: string, worker: string): Promise<boolean>
  /** From `running`. @returns false, changing nothing, from any other state or if unknown. */
  succeed(id: string, success: RunSuccess): Promise<boolean>
  /** From `starting` or `running`. @returns false, changing nothing, if it has ended or is unknown. */
  fail(id: string, failure: RunFailure): Promise<boolean>
  /** @returns `null` if absent. */
  find(tenant: string, id: string): Promise<Run | null>
  /** The latest runs of a schedule, newest first. */
  last(tenant: string, schedule: string, limit: number): Promise<Run[]>
  /** Of all tenants, oldest first. */
  unfinished(): Promise<Run[]>
  /** Those that one worker has, oldest first. */
  unfinishedOf(tenant: string, worker: string): Promise<Run[]>
}

export class SqlRuns implements Runs {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async start({ id, tenant, schedule, user, job }: NewRun): Promise<void> {
    await this.#db.insertInto("runs").values({
      id, tenant, schedule, user, job, worker: null, state: "starting", reason: null, detail: null,
      exit_code: null, statistics: null, started_at_ms: this.#clock.now(), ended_at_ms: null,
    }).execute()
  }

  async assign(id: string, worker: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#db.updateTable("runs")
      .set({ state: "running", worker })
      .where("id", "=", id).where("state", "=", "starting")
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  }

  async succeed(id: string, { exitCode, statistics }: RunSuccess): Promise<boolean> {
    const { numUpdatedRows } = await this.#db.updateTable("runs")
      .set({
        state: "succeeded", exit_code: exitCode,
        statistics: statistics === null ? null : JSON.stringify(statistics), ended_at_ms: this.#clock.now(),
      })
      .where("id", "=", id).where("state", "=", "running")
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  }

  async fail(id: string, { reason, detail, exitCode = null }: RunFailure): Promise<boolean> {
    const { numUpdatedRows } = await this.#db.updateTable("runs")
      .set({
        state: "failed", reason, detail: detail === null ? null : boundText(detail),
        exit_code: exitCode, ended_at_ms: this.#clock.now(),
      })
      .where("id", "=", id).where("state", "in", ["starting", "running"])
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  }

  async find(tenant: string, id: string): Promise<Run | null> {
    const row = await this.#db.selectFrom("runs").selectAll().where("tenant", "=", tenant).where("id", "=", id).executeTakeFirst()
    return row === undefined ? null : parseRow("runs", RunRow, row)
  }

  async last(tenant: string, schedule: string, limit: number): Promise<Run[]> {
    const rows = await this.#db.selectFrom("runs").selectAll()
      .where("tenant", "=", tenant).where("schedule", "=", schedule)
      .orderBy("started_at_ms", "desc").orderBy("id", "desc").limit(limit)
      .execute()
    return rows.map((row) => parseRow("runs", RunRow, row))
  }

  async unfinished(): Promise<Run[]> {
    const rows = await this.#unfinished().execute()
    return rows.map((row) => parseRow("runs", RunRow, row))
  }

  async unfinishedOf(tenant: string, worker: string): Promise<Run[]> {
    const rows = await this.#unfinished().where("tenant", "=", tenant).where("worker", "=", worker).execute()
    return rows.map((row) => parseRow("runs", RunRow, row))
  }

  #unfinished() {
    return this.#db.selectFrom("runs").selectAll().where("state", "in", ["starting", "running"]).orderBy("started_at_ms").orderBy("id")
  }
}
