import { asBuffer } from "../base/bytes.ts"
import { encodeEkeyText } from "./ekey-text.ts"

/** No spelling of an ekey that is masked is longer, in characters. */
export const MASK_LOOKAHEAD = 64

const MASKED = "[ekey]"

/**
 * Takes an ekey out of text that a program printed, before the text reaches a log or the cloud. It
 * knows the ekey as base64url, base64 and hexadecimal: a guard against accidents (a program that
 * prints its environment), not against a program that means to give the ekey away.
 */
export class EkeyMask {
  readonly #spellings: readonly Buffer[]

  /** Copies what it needs of `ekey`; `wipe` overwrites the copies. */
  constructor(ekey: Uint8Array) {
    const text = encodeEkeyText(ekey)
    this.#spellings = [text, standardBase64(text), hexadecimal(ekey, LOWER_DIGITS), hexadecimal(ekey, UPPER_DIGITS)]
  }

  mask(text: string): string {
    let masked = text
    for (const spelling of this.#spellings) {
      for (let at = findIn(masked, spelling); at >= 0; at = findIn(masked, spelling)) {
        masked = masked.slice(0, at) + MASKED + masked.slice(at + spelling.length)
      }
    }
    return masked
  }

  wipe(): void {
    for (const spelling of this.#spellings) spelling.fill(0)
  }
}

const LOWER_DIGITS = Buffer.from("0123456789abcdef", "latin1")
const UPPER_DIGITS = Buffer.from("0123456789ABCDEF", "latin1")

function hexadecimal(bytes: Uint8Array, digits: Buffer): Buffer {
  const out = Buffer.alloc(bytes.length * 2)
  let at = 0
  for (const byte of bytes) {
    out[at++] = digits[byte >> 4] ?? 0
    out[at++] = digits[byte & 15] ?? 0
  }
  return out
}

function standardBase64(base64url: Buffer): Buffer {
  return asBuffer(base64url.map((byte) => byte === 0x2d ? 0x2b : byte === 0x5f ? 0x2f : byte))
}

/** Compares without making a string of the spelling. A wiped one is found nowhere. */
function findIn(text: string, spelling: Buffer): number {
  const first = spelling[0]
  if (first === undefined || first === 0) return -1
  const letter = String.fromCharCode(first)
  for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) {
    if (spelling.every((byte, i) => text.charCodeAt(at + i) === byte)) return at
  }
  return -1
}
