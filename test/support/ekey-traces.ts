/** One way in which a secret may have been written down. */
interface Encoding {
  readonly name: string
  readonly bytes: Buffer
}

/**
 * Every way in which a program could have let a secret slip: raw, hexadecimal, base64 and base64url
 * wherever they began, and the decimal lists that JSON makes of Buffers and typed arrays.
 */
function encodingsOf(secret: Uint8Array): Encoding[] {
  const bytes = Buffer.from(secret)
  const hex = bytes.toString("hex")
  const base64 = [0, 1, 2].flatMap((offset) => {
    const text = wholeDigits(bytes, offset)
    const name = `base64 at ${offset}`
    return [{ name, text }, { name, text: text.replaceAll("+", "-").replaceAll("/", "_") }]
  })
  const texts = [
    { name: "hex", text: hex },
    { name: "HEX", text: hex.toUpperCase() },
    ...base64,
    { name: "decimal list", text: [...bytes].join(",") },
    { name: "decimal object", text: [...bytes].map((byte, index) => `"${index}":${byte}`).join(",") },
  ]
  return [{ name: "raw", bytes }, ...texts.map(({ name, text }) => ({ name, bytes: Buffer.from(text) }))]
}

/** The base64 digits that depend on the secret alone when `offset` bytes of something else precede it. */
function wholeDigits(secret: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), secret]).toString("base64")
  return text.slice(Math.ceil(offset * 8 / 6), Math.floor((offset + secret.length) * 8 / 6))
}

/** The names of the encodings in which `secret` occurs in `haystack`, base64url under base64's; none for one that is not there. */
export function findTraces(haystack: Buffer, secret: Uint8Array): string[] {
  return [...new Set(encodingsOf(secret).filter(({ bytes }) => haystack.includes(bytes)).map(({ name }) => name))]
}
