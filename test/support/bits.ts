/** A copy of `bytes` with one bit changed; bit 0 is the lowest of the first byte. */
export function flipBit(bytes: Uint8Array, bit: number): Buffer {
  const flipped = Buffer.from(bytes)
  const at = Math.floor(bit / 8)
  flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (bit % 8)), at)
  return flipped
}

/** As `flipBit` for canonical base64url text. */
export function flipBitOf(text: string, bit: number): string {
  return flipBit(Buffer.from(text, "base64url"), bit).toString("base64url")
}

/** How many bits a base64url text encodes. */
export function bitsOf(text: string): number {
  return Buffer.from(text, "base64url").length * 8
}

/** A non-negative safe integer with one bit changed. */
export function flipNumberBit(value: number, bit: number): number {
  return Number(BigInt(value) ^ (1n << BigInt(bit)))
}
