import { randomBytes } from "node:crypto"
import type { Clock } from "../base/clock.ts"
import { codeOf, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import { EKEY_BYTES } from "../crypto/sealed-record.ts"
import type { RecordSealer } from "../crypto/sealed-record.ts"
import type { ProvisionResult } from "../wire/messages/custody.ts"
import type { BlindCopies } from "./blind-copies.ts"
import type { EkeyStore } from "./store/ekey-store.ts"

export interface ProvisionerOptions {
  readonly store: EkeyStore
  readonly sealer: RecordSealer
  readonly copies: BlindCopies
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Makes a user's first ekey: version 1, random, sealed. Resolves when the sealed record is durable
 * here and in the cloud's blind copy. Repeating it, also after a crash in between, gives the same ekey.
 * @throws EkeyError ERR_NOT_DURABLE while the second copy is not there; the first is kept.
 */
export async function provision({ store, sealer, copies, clock, log }: ProvisionerOptions, user: string): Promise<ProvisionResult> {
  const known = await store.readLatest(user)
  const created = known === null && await createFirst({ store, sealer, clock }, user)
  const latest = known ?? await store.readLatest(user)
  if (!latest) throw new EkeyError("ERR_STORE", "the new ekey can't be read back")
  if (!latest.acknowledged) {
    await copies.flush()
    if ((await store.read({ user, version: latest.version }))?.acknowledged !== true) throw new EkeyError("ERR_NOT_DURABLE", "the cloud refused the second copy")
  }
  if (created) log.info("ekey created", { user, version: latest.version })
  return { version: latest.version, created }
}

/** @returns false when another call was quicker: its ekey is the user's. */
async function createFirst({ store, sealer, clock }: Pick<ProvisionerOptions, "store" | "sealer" | "clock">, user: string): Promise<boolean> {
  const id = { user, version: 1 }
  const ekey = randomBytes(EKEY_BYTES)
  try {
    await store.create(id, sealer.seal(id, ekey, clock.now()))
    return true
  } catch (error) {
    if (codeOf(error) === "ERR_EKEY_EXISTS") return false
    throw error
  } finally {
    ekey.fill(0)
  }
}
