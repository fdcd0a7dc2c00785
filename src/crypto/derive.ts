import { createSecretKey, hkdfSync } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { encodeFields } from "./fields.ts"
import type { Field } from "./fields.ts"

const DERIVED_KEY_BYTES = 32

/**
 * HKDF-SHA-256, RFC 5869.
 * @param bytes length of the result, at most 8,160 (section 2.3).
 * @returns a fresh buffer that the caller owns and wipes.
 */
export function hkdfSha256(secret: KeyObject | Uint8Array, salt: Uint8Array, info: Uint8Array, bytes: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, info, bytes))
}

/**
 * Derives `bytes` for one purpose. The label names the purpose, the fields the context; different
 * labels or fields give independent results. There is no salt: root keys are uniformly random, so
 * RFC 5869 section 3.1 needs none.
 */
export function deriveBytes(root: KeyObject | Uint8Array, label: string, fields: readonly Field[], bytes: number): Buffer {
  return hkdfSha256(root, new Uint8Array(0), encodeFields(label, fields), bytes)
}

/**
 * A 256-bit key for one purpose. Derive once and keep it: a KeyObject, because a raw key makes
 * every later use three times as slow on Node 24.
 */
export function deriveKey(root: KeyObject | Uint8Array, label: string, fields: readonly Field[]): KeyObject {
  const bytes = deriveBytes(root, label, fields, DERIVED_KEY_BYTES)
  try {
    return createSecretKey(bytes)
  } finally {
    bytes.fill(0)
  }
}
