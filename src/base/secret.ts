import { inspect } from "node:util"

/**
 * Key bytes with one owner. Renders as `[secret]` in logs, JSON and inspection. `consume` lends the
 * bytes once and overwrites them afterwards; JavaScript can't promise that no copy remains.
 */
export class Secret {
  readonly #bytes: Uint8Array
  #open = true

  /** Takes ownership of `bytes`: the caller keeps no other use of them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Lends the bytes to `use`, then overwrites them. A second call throws. */
  async consume<T>(use: (bytes: Uint8Array) => T | Promise<T>): Promise<T> {
    if (!this.#open) throw new Error("secret already consumed")
    this.#open = false
    try {
      return await use(this.#bytes)
    } finally {
      this.#bytes.fill(0)
    }
  }

  /** Overwrites the bytes without lending them. Idempotent. */
  wipe(): void {
    this.#open = false
    this.#bytes.fill(0)
  }

  toString(): string {
    return "[secret]"
  }

  toJSON(): string {
    return "[secret]"
  }

  [inspect.custom](): string {
    return "[secret]"
  }
}
