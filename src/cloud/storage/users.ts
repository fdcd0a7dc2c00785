import type { Kysely } from "kysely"
import { z } from "zod"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { parseRow } from "./rows.ts"
import type { Tables } from "./schema.ts"

const common = { tenant: z.string(), user: z.string(), created_at_ms: z.int() }

const UserRow = z.discriminatedUnion("state", [
  z.object({ ...common, state: z.literal("provisioning"), ekey_version: z.null() })
    .transform(({ tenant, user, state, created_at_ms: createdAtMs }) => ({ tenant, user, state, createdAtMs })),
  z.object({ ...common, state: z.literal("active"), ekey_version: z.int().min(1) })
    .transform(({ tenant, user, state, ekey_version: ekeyVersion, created_at_ms: createdAtMs }) => ({ tenant, user, state, ekeyVersion, createdAtMs })),
])

/** A user is `provisioning` until its first ekey is known to be durable, then `active` for good. */
export type User = Readonly<z.output<typeof UserRow>>

/** The users of each tenant. Every method throws ERR_STORE for I/O faults. */
export interface Users {
  /**
   * Begins a user in state `provisioning`; one that is still in it stays as it is.
   * @throws EkeyError ERR_USER_EXISTS if the user is active.
   */
  add(tenant: string, user: string): Promise<void>
  /**
   * Repeating it with the same version changes nothing.
   * @throws EkeyError ERR_USER_UNKNOWN if there is no such user, ERR_USER_EXISTS if it is active with another version.
   */
  activate(tenant: string, user: string, ekeyVersion: number): Promise<void>
  /** @returns `null` if absent. */
  find(tenant: string, user: string): Promise<User | null>
  /** In the order of the users' ids. */
  list(tenant: string): Promise<User[]>
}

export class SqlUsers implements Users {
  readonly #db: Kysely<Tables>
  readonly #clock: Clock

  constructor(db: Kysely<Tables>, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  async add(tenant: string, user: string): Promise<void> {
    const { numInsertedOrUpdatedRows } = await this.#db.insertInto("users")
      .values({ tenant, user, state: "provisioning", ekey_version: null, created_at_ms: this.#clock.now() })
      .onConflict((conflict) => conflict.columns(["tenant", "user"]).doNothing())
      .executeTakeFirstOrThrow()
    if (numInsertedOrUpdatedRows === 1n) return
    const known = await this.find(tenant, user)
    if (known?.state === "active") throw new EkeyError("ERR_USER_EXISTS", "the user is known already")
  }

  async activate(tenant: string, user: string, ekeyVersion: number): Promise<void> {
    const { numUpdatedRows } = await this.#db.updateTable("users")
      .set({ state: "active", ekey_version: ekeyVersion })
      .where("tenant", "=", tenant).where("user", "=", user).where("state", "=", "provisioning")
      .executeTakeFirstOrThrow()
    if (numUpdatedRows === 1n) return
    const known = await this.find(tenant, user)
    if (known === null) throw new EkeyError("ERR_USER_UNKNOWN", "the user is not known to this tenant")
    if (known.state === "active" && known.ekeyVersion === ekeyVersion) return
    throw new EkeyError("ERR_USER_EXISTS", "the user is active with another version")
  }

  async find(tenant: string, user: string): Promise<User | null> {
    const row = await this.#db.selectFrom("users").selectAll().where("tenant", "=", tenant).where("user", "=", user).executeTakeFirst()
    return row === undefined ? null : parseRow("users", UserRow, row)
  }

  async list(tenant: string): Promise<User[]> {
    const rows = await this.#db.selectFrom("users").selectAll().where("tenant", "=", tenant).orderBy("user").execute()
    return rows.map((row) => parseRow("users", UserRow, row))
  }
}
