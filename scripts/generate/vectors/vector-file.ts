import { createHash } from "node:crypto"
import { uint32 } from "../../../src/crypto/fields.ts"

const ABOUT = "Made by scripts/generate.ts from the code itself, so these vectors guard against change only. Bytes are hexadecimal unless a field says otherwise; every key is a test value."

/** The text of one file of `test/vectors/`. */
export function vectorFile(section: string, vectors: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ about: ABOUT, section: `docs/protocol.md, ${section}`, ...vectors }, null, 2)}\n`
}

/** Bytes that look random and are the same each time. */
export function testBytes(label: string, length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, index) => createHash("sha256").update(label).update(uint32(index)).digest())
  return Buffer.concat(blocks).subarray(0, length)
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex")
}
