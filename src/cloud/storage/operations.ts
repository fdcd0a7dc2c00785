import type { Kysely } from "kysely"
import { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { Product, Workflow } from "../../wire/messages/workflows.ts"
import { parseRow, ReasonCode } from "./rows.ts"
import type { Tables } from "./schema.ts"

const OperationRow = z.object({
  tenant: z.string(), id: z.string(), worker: z.string(), product: Product, workflow: Workflow, run: z.string().nullable(),
  state: z.enum(["open", "succeeded", "failed"]), reason: ReasonCode.nullable(), releases: z.int().min(0),
  begun_at_ms: z.int(), ended_at_ms: z.int().nullable(),
}).transform(({ begun_at_ms: begunAtMs, ended_at_ms: endedAtMs, ...row }) => ({ ...row, begunAtMs, endedAtMs }))

/** One operation of a worker: the frame inside which ekeys are released to it. */
export type Operation = Readonly<z.output<typeof OperationRow>>

export type NewOperation = Pick<Operation, "tenant" | "id" | "worker" | "product" | "workflow" | "run">

export interface OperationEnd {
  readonly tenant: string
  readonly id: string
  readonly worker: string
  /** `null` if it succeeded, otherwise the error code of the failure. */
  readonly reason: string | null
  /** How many ekeys were released inside it. */
  readonly releases: number
}

/** Every method throws ERR_STORE for I/O faults. */
export interface Operations {
  /**
   * Repeating it while the operation is open changes nothing.
   * @throws EkeyError ERR_OPERATION if the tenant has another operation of this id, or it has ended.
   */
  begin(operation: NewOperation): Promise<void>
  /**
   * Repeating it with the same end changes nothing.
   * @throws EkeyError ERR_OPERATION if it is unknown, of another worker, or ended otherwise.
   */
  end(end: OperationEnd): Promise<void>
  /** @returns `null` if absent. */
  find(tenant: string, id: string): Promise<Operation | null>
  /** The open operations of one worker, oldest first. */
  openOf(tenant: string, worker: string): Promise<Operation[]>
}

export class SqlOperations implements Operations {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async begin({ tenant, id, worker, product, workflow, run }: NewOperation): Promise<void> {
    const { numInsertedOrUpdatedRows } = await this.#db.insertInto("operations")
      .values({ tenant, id, worker, product, workflow, run, state: "open", reason: null, releases: 0, begun_at_ms: this.#clock.now(), ended_at_ms: null })
      .onConflict((conflict) => conflict.columns(["tenant", "id"]).doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows === 1n) return
    const known = await this.find(tenant, id)
    const same = known?.state === "open" && known.worker === worker && known.product === product && known.workflow === workflow && known.run === run
    if (!same) throw new EkeyError("ERR_OPERATION", "the operation's id is taken")
  }

  async end({ tenant, id, worker, reason, releases }: OperationEnd): Promise<void> {
    const state = reason === null ? "succeeded" : "failed"
    const { numUpdatedRows } = await this.#db.updateTable("operations")
      .set({ state, reason, releases, ended_at_ms: this.#clock.now() })
      .where("tenant", "=", tenant).where("id", "=", id).where("worker", "=", worker).where("state", "=", "open")
      .executeTakeFirstOrThrow()
    if (numUpdatedRows === 1n) return
    const known = await this.find(tenant, id)
    const same = known?.worker === worker && known.state === state && known.reason === reason && known.releases === releases
    if (!same) throw new EkeyError("ERR_OPERATION", "the operation is unknown, has ended, or is of another worker")
  }

  async find(tenant: string, id: string): Promise<Operation | null> {
    const row = await this.#db.selectFrom("operations").selectAll().where("tenant", "=", tenant).where("id", "=", id).executeTakeFirst()
    return row === undefined ? null : parseRow("operations", OperationRow, row)
  }

  async openOf(tenant: string, worker: string): Promise<Operation[]> {
    const rows = await this.#db.selectFrom("operations").selectAll()
      .where("tenant", "=", tenant).where("worker", "=", worker).where("state", "=", "open")
      .orderBy("begun_at_ms").orderBy("id")
      .execute()
    return rows.map((row) => parseRow("operations", OperationRow, row))
  }
}
