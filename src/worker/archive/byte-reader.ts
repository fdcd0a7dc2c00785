/** Reads a stream of chunks by length. Holds one chunk, or what one `exactly` asks for. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array(0)

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]()
  }

  /** @returns 1 to `max` bytes, or `null` at the end. */
  async some(max: number): Promise<Uint8Array | null> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next()
      if (next.done) return null
      this.#rest = next.value
    }
    const part = this.#rest.subarray(0, max)
    this.#rest = this.#rest.subarray(part.length)
    return part
  }

  /** @returns exactly `length` bytes, in memory of their own; `null` if the stream ends before. */
  async exactly(length: number): Promise<Buffer | null> {
    const out = Buffer.allocUnsafe(length)
    let at = 0
    while (at < length) {
      const part = await this.some(length - at)
      if (part === null) return null
      out.set(part, at)
      at += part.length
    }
    return out
  }

  /** Lets the source release what it holds, when not everything was read. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}
