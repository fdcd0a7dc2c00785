import { asBuffer } from "../base/bytes.ts"

/** A field of a canonical encoding: bytes, or text that is encoded as UTF-8. */
export type Field = Uint8Array | string

/**
 * The canonical encoding under every MAC, signature, AAD and key derivation: the label and each
 * field, each behind its length in bytes as an unsigned 32-bit big-endian number. Length prefixes
 * make ("ab","c") and ("a","bc") different; the label separates the uses.
 */
export function encodeFields(label: string, fields: readonly Field[]): Buffer {
  let length = 4 + Buffer.byteLength(label)
  for (const field of fields) length += 4 + (typeof field === "string" ? Buffer.byteLength(field) : field.length)
  const out = Buffer.allocUnsafe(length)
  let at = append(out, 0, label)
  for (const field of fields) at = append(out, at, field)
  return out
}

function append(out: Buffer, at: number, field: Field): number {
  if (typeof field === "string") {
    const written = out.write(field, at + 4)
    out.writeUInt32BE(written, at)
    return at + 4 + written
  }
  out.writeUInt32BE(field.length, at)
  asBuffer(field).copy(out, at + 4)
  return at + 4 + field.length
}

/** Unsigned 32-bit big-endian. */
export function uint32(value: number): Buffer {
  const out = Buffer.allocUnsafe(4)
  out.writeUInt32BE(value)
  return out
}

/** Unsigned 64-bit big-endian of a safe non-negative integer. */
export function uint64(value: number): Buffer {
  const out = Buffer.allocUnsafe(8)
  out.writeUInt32BE(Math.floor(value / 2 ** 32), 0)
  out.writeUInt32BE(value % 2 ** 32, 4)
  return out
}
