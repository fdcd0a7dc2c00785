import { createCipheriv, createDecipheriv } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { EkeyError } from "../base/errors.ts"

const ALGORITHM = "aes-256-gcm"
export const NONCE_BYTES = 12
export const TAG_BYTES = 16

/**
 * AES-256-GCM (NIST SP 800-38D), 96-bit nonce, 128-bit tag.
 * `key` is a KeyObject made once: a raw key costs three times as much on Node 24.
 * @returns ciphertext ‖ tag.
 */
export function seal(key: KeyObject, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(aad)
  const body = cipher.update(plaintext)
  cipher.final()
  const out = Buffer.allocUnsafe(body.length + TAG_BYTES)
  body.copy(out)
  cipher.getAuthTag().copy(out, body.length)
  return out
}

/**
 * Opens `seal`'s result into a fresh buffer that the caller owns.
 * @throws EkeyError ERR_DECRYPT for every cause alike: key, nonce, context, tag or length.
 */
export function open(key: KeyObject, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  try {
    const bodyBytes = sealed.length - TAG_BYTES
    const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(aad)
    decipher.setAuthTag(sealed.subarray(bodyBytes))
    const plaintext = decipher.update(sealed.subarray(0, bodyBytes))
    decipher.final()
    return plaintext
  } catch (cause) {
    throw new EkeyError("ERR_DECRYPT", "decryption failed", { cause })
  }
}
