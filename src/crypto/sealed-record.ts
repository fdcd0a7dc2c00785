import { createHmac, createSecretKey, randomBytes } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { asBuffer } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import { NONCE_BYTES, open, seal, TAG_BYTES } from "./aead.ts"
import { deriveBytes, deriveKey } from "./derive.ts"
import { encodeFields, uint32, uint64 } from "./fields.ts"

/** Which ekey of a tenant. */
export interface EkeyId {
  /** 1 to 256 visible ASCII characters. */
  readonly user: string
  /** Counts from 1. */
  readonly version: number
}

/** What a record says of itself without its key. Only `RecordSealer.open` proves that it is true. */
export interface RecordHeader {
  /** Names the root key that sealed the record. */
  readonly rootKeyId: Buffer
  /** Milliseconds since the Unix epoch. */
  readonly createdAtMs: number
  readonly fingerprint: Buffer
}

export const EKEY_BYTES = 32
export const ROOT_KEY_BYTES = 32
export const ROOT_KEY_ID_BYTES = 8
export const FINGERPRINT_BYTES = 16

const FORMAT = 1
const CREATED_AT = 1 + ROOT_KEY_ID_BYTES
const FINGERPRINT_AT = CREATED_AT + 8
const HEADER_BYTES = FINGERPRINT_AT + FINGERPRINT_BYTES
const SEALED_AT = HEADER_BYTES + NONCE_BYTES

/**
 * version 1 ‖ root key id 8 ‖ createdAtMs 8 ‖ fingerprint 16 ‖ nonce 12 ‖ ciphertext 32 ‖ tag 16.
 * Every size is fixed and numbers are big-endian, so one record has one encoding.
 */
export const RECORD_BYTES = SEALED_AT + EKEY_BYTES + TAG_BYTES

/**
 * Names a root key in the records it sealed. Derived, not a hash of the key, so that it can't be
 * matched against anything else that is computed from the key.
 */
export function rootKeyId(root: KeyObject | Uint8Array): Buffer {
  return deriveBytes(root, "ekey-connector root key id v1", [], ROOT_KEY_ID_BYTES)
}

/**
 * Reads the header of a record, of whichever root key.
 * @throws EkeyError ERR_DECRYPT when the bytes are no record of this format.
 */
export function inspectRecord(record: Uint8Array): RecordHeader {
  if (record.length !== RECORD_BYTES || record[0] !== FORMAT) throw undecryptable()
  const bytes = asBuffer(record)
  const createdAtMs = Number(bytes.readBigUInt64BE(CREATED_AT))
  if (!Number.isSafeInteger(createdAtMs)) throw undecryptable()
  return {
    rootKeyId: Buffer.from(bytes.subarray(1, CREATED_AT)),
    createdAtMs,
    fingerprint: Buffer.from(bytes.subarray(FINGERPRINT_AT, HEADER_BYTES)),
  }
}

/** Seals and opens the stored form of a tenant's ekeys under one root key. */
export class RecordSealer {
  /** Names the root key; in every record that this sealer makes. */
  readonly rootKeyId: Buffer
  readonly #tenant: string
  // One key for all records of a tenant: with random nonces good for 2^32 seals (SP 800-38D, 8.3).
  readonly #sealingKey: KeyObject
  readonly #fingerprintKey: KeyObject

  /** Copies what it needs from `rootKey` (32 bytes): the caller still owns and wipes it. */
  constructor(options: { rootKey: Uint8Array; tenant: string }) {
    if (options.rootKey.length !== ROOT_KEY_BYTES) throw new EkeyError("ERR_ROOT_KEY", "a root key has 32 bytes")
    const root = createSecretKey(options.rootKey)
    this.rootKeyId = rootKeyId(root)
    this.#tenant = options.tenant
    this.#sealingKey = deriveKey(root, "ekey-connector record sealing v1", [options.tenant])
    this.#fingerprintKey = deriveKey(root, "ekey-connector fingerprint v1", [options.tenant])
  }

  /**
   * Seals an ekey for the store; the caller keeps and wipes `ekey`.
   * @throws EkeyError ERR_PARAMS when it is not 32 bytes.
   */
  seal(id: EkeyId, ekey: Uint8Array, createdAtMs: number): Buffer {
    if (ekey.length !== EKEY_BYTES) throw new EkeyError("ERR_PARAMS", "an ekey has 32 bytes")
    const header = Buffer.concat([Uint8Array.of(FORMAT), this.rootKeyId, uint64(createdAtMs), this.fingerprint(id, ekey)])
    const nonce = randomBytes(NONCE_BYTES)
    return Buffer.concat([header, nonce, seal(this.#sealingKey, nonce, this.#context(id, header), ekey)])
  }

  /**
   * Opens a record that this root key sealed for exactly this tenant, user and version.
   *
   * The fingerprint is not computed again: it is authenticated with the rest of the header, and only
   * a holder of the root key could have sealed a wrong one. Computing it would double the cost of a
   * release; who verifies a whole store compares `fingerprint`.
   * @returns a fresh buffer that the caller owns and wipes.
   * @throws EkeyError ERR_DECRYPT for every cause alike.
   */
  open(id: EkeyId, record: Uint8Array): Buffer {
    if (record.length !== RECORD_BYTES || record[0] !== FORMAT) throw undecryptable()
    const context = this.#context(id, record.subarray(0, HEADER_BYTES))
    return open(this.#sealingKey, record.subarray(HEADER_BYTES, SEALED_AT), context, record.subarray(SEALED_AT))
  }

  /**
   * Names an ekey's value without telling it: the same for the same ekey, id and root key. Keyed,
   * so that it tells nothing to who has no root key.
   */
  fingerprint(id: EkeyId, ekey: Uint8Array): Buffer {
    const fields = encodeFields("ekey-connector fingerprint v1", [this.#tenant, id.user, uint32(id.version), ekey])
    try {
      return createHmac("sha256", this.#fingerprintKey).update(fields).digest().subarray(0, FINGERPRINT_BYTES)
    } finally {
      fields.fill(0)
    }
  }

  #context(id: EkeyId, header: Uint8Array): Buffer {
    return encodeFields("ekey-connector record v1", [header, this.#tenant, id.user, uint32(id.version)])
  }
}

/** The same as from a failed tag: one answer for every cause. */
function undecryptable(): EkeyError {
  return new EkeyError("ERR_DECRYPT", "decryption failed")
}
