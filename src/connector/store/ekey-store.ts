import { EkeyError } from "../../base/errors.ts"
import type { EkeyId } from "../../crypto/sealed-record.ts"

export type { EkeyId } from "../../crypto/sealed-record.ts"

/** Records are sealed elsewhere; a store takes anything from 1 to this many bytes. */
export const MAX_RECORD_BYTES = 256

export interface StoredEkey {
  readonly version: number
  /** The sealed record, a copy that the caller owns. */
  readonly record: Uint8Array
  /** Whether the record's second copy is durable in the cloud. Until then the ekey can still be lost. */
  readonly acknowledged: boolean
}

export interface OutboxEntry {
  readonly id: EkeyId
  /** The sealed record, a copy that the caller owns. */
  readonly record: Uint8Array
}

/**
 * Keeps the tenant's sealed ekeys, byte for byte: what is read here, copied to the cloud and
 * restored from there is the same record, whichever adapter holds it. No method sees an ekey.
 *
 * Writes are durable when their promise resolves; one that rejects left nothing behind. Every
 * method throws EkeyError ERR_STORE for I/O faults and after `close`, and ERR_PARAMS for ids and
 * records outside their limits.
 */
export interface EkeyStore {
  /** The tenant whose ekeys these are; fixed when the store was made. */
  readonly tenant: string
  /** Names this store among all others: 16 random bytes, base64url; fixed when the store was made. */
  readonly storeId: string

  /**
   * Remembers the root key that seals this store's records: at the first call, and again as long
   * as the store is empty. To be called once after opening, before records are made.
   * @throws EkeyError ERR_ROOT_KEY when the store is not empty and remembers another one.
   */
  bindRootKey(rootKeyId: Uint8Array): Promise<void>

  /**
   * Adds a record, not yet acknowledged. Record and outbox entry become durable together.
   * @throws EkeyError ERR_EKEY_EXISTS if that version is taken; never overwrites.
   */
  create(id: EkeyId, record: Uint8Array): Promise<void>
  /** @returns `null` if there is no such version. */
  read(id: EkeyId): Promise<StoredEkey | null>
  /** @returns the highest version of the user's ekeys, `null` if there is none. */
  readLatest(user: string): Promise<StoredEkey | null>
  /** How many records there are. */
  count(): Promise<number>

  /**
   * Records whose second copy is not acknowledged, ordered by user and version, at most `limit`,
   * from the first one behind `after`. Paging by `after` gets past records that can't be copied.
   */
  unacknowledged(limit: number, after?: EkeyId): Promise<readonly OutboxEntry[]>
  /** Notes that the second copies of these records are durable. Others than those in the outbox are ignored. */
  acknowledge(ids: readonly EkeyId[]): Promise<void>

  /** Finishes the writes under way, then lets go of the store. Idempotent. */
  close(): Promise<void>
}

const USER = /^[\x21-\x7e]{1,256}$/
const MAX_VERSION = 0xffffffff

/** Keeps anything out of a store that its keys can't hold. */
export function checkUser(user: string): void {
  if (!USER.test(user)) throw new EkeyError("ERR_PARAMS", "a user id is 1 to 256 visible ASCII characters")
}

/** See `checkUser`. */
export function checkEkeyId(id: EkeyId): void {
  checkUser(id.user)
  if (!Number.isInteger(id.version) || id.version < 1 || id.version > MAX_VERSION) {
    throw new EkeyError("ERR_PARAMS", "an ekey's version is a number from 1 to 2^32-1")
  }
}

/** See `checkUser`. */
export function checkRecord(record: Uint8Array): void {
  if (record.length < 1 || record.length > MAX_RECORD_BYTES) {
    throw new EkeyError("ERR_PARAMS", `a sealed record has 1 to ${String(MAX_RECORD_BYTES)} bytes`)
  }
}
