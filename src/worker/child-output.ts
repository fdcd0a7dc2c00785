import { StringDecoder } from "node:string_decoder"
import { MASK_LOOKAHEAD } from "./ekey-mask.ts"

/** What a line that was cut ends with. */
const CUT = "…"

export interface LineLimits {
  /** Longer lines are cut, in characters. */
  readonly maxLine: number
}

/**
 * Cuts a byte stream into lines of bounded length, each masked before anybody sees it. Holds at most
 * one line of `maxLine` characters and a little more, so that no cut leaves half an ekey unmasked.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8")
  readonly #maxLine: number
  readonly #mask: (text: string) => string
  readonly #onLine: (line: string) => void
  #line = ""
  #cut = false

  constructor(limits: LineLimits, mask: (text: string) => string, onLine: (line: string) => void) {
    this.#maxLine = limits.maxLine
    this.#mask = mask
    this.#onLine = onLine
  }

  push(chunk: Buffer): void {
    this.#take(this.#decoder.write(chunk))
  }

  /** Emits what came after the last line end. */
  end(): void {
    this.#take(this.#decoder.end())
    if (this.#line !== "" || this.#cut) this.#emit()
  }

  #take(text: string): void {
    let start = 0
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      this.#append(text.slice(start, end))
      this.#emit()
      start = end + 1
    }
    this.#append(text.slice(start))
  }

  #append(text: string): void {
    const room = this.#maxLine + MASK_LOOKAHEAD - this.#line.length
    if (text.length > room) this.#cut = true
    this.#line += text.slice(0, Math.max(0, room))
  }

  #emit(): void {
    const whole = this.#mask(this.#line.endsWith("\r") ? this.#line.slice(0, -1) : this.#line)
    const cut = this.#cut || whole.length > this.#maxLine
    this.#line = ""
    this.#cut = false
    this.#onLine(cut ? whole.slice(0, this.#maxLine) + CUT : whole)
  }
}

/** The last characters of everything that was said. */
export class Tail {
  readonly #maxLength: number
  #text = ""

  constructor(maxLength: number) {
    this.#maxLength = maxLength
  }

  add(line: string): void {
    this.#text = `${this.#text}${line}\n`.slice(-this.#maxLength)
  }

  get text(): string {
    return this.#text.trimEnd()
  }
}
