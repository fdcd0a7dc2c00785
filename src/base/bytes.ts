import { EkeyError } from "./errors.ts"

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Base64url without padding, RFC 4648 section 5. */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url")
}

/**
 * Decodes canonical base64url only. Node's decoder skips stray characters and ignores unused bits,
 * so the result is encoded again and compared.
 * @returns null if the text is not the canonical encoding of any bytes.
 */
export function fromBase64url(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, "base64url")
  return bytes.toString("base64url") === text ? bytes : null
}

/** Decodes text that a schema has already found canonical. */
export function bytesOf(canonical: string): Buffer {
  return Buffer.from(canonical, "base64url")
}

/** @throws EkeyError ERR_PARAMS when the bytes are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes)
  } catch (cause) {
    throw new EkeyError("ERR_PARAMS", "text is not valid UTF-8", { cause })
  }
}

/** A view as a Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
