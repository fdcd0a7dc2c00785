import { EkeyError } from "../base/errors.ts"

const ALPHABET = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "latin1")

/** An ekey's length in bytes, and as base64url text without padding. */
export const EKEY_BYTES = 32
export const EKEY_TEXT_BYTES = 43

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

/**
 * The ekey as programs get it: base64url without padding and without a line end. Written into a
 * buffer that the caller owns and wipes, because Node's own encoder makes a string.
 */
export function encodeEkeyText(ekey: Uint8Array): Buffer {
  const text = Buffer.alloc(Math.ceil(ekey.length * 8 / 6))
  let bits = 0
  let value = 0
  let at = 0
  for (const byte of ekey) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 6) {
      bits -= 6
      text[at++] = letter(value >> bits)
    }
  }
  if (bits > 0) text[at] = letter(value << (6 - bits))
  return text
}

/**
 * What a password file holds, checked to be a whole ekey: a weak passphrase in its place would be
 * easy to guess. One line end after it is allowed.
 * @returns a view of `content` without the line end.
 * @throws EkeyError ERR_FILE when it is anything else.
 */
export function checkEkeyText(content: Buffer): Buffer {
  let end = content.length
  if (end > 0 && content[end - 1] === LINE_FEED) end--
  if (end < content.length && end > 0 && content[end - 1] === CARRIAGE_RETURN) end--
  const text = content.subarray(0, end)
  const last = text.length === EKEY_TEXT_BYTES ? ALPHABET.indexOf(text.subarray(EKEY_TEXT_BYTES - 1)) : -1
  // 43 letters hold 258 bits: the last two of them must be zero, or two texts would name one ekey.
  const canonical = last >= 0 && last % 4 === 0 && text.every((byte) => ALPHABET.includes(byte))
  if (!canonical) throw new EkeyError("ERR_FILE", `the password file does not hold an ekey: ${String(EKEY_TEXT_BYTES)} characters of base64url`)
  return text
}

function letter(bits: number): number {
  return ALPHABET[bits & 0x3f] ?? 0
}
