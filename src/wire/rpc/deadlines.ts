import type { Clock } from "../../base/clock.ts"

/**
 * Deadlines of many short requests on one timer, armed for the earliest: adding and removing costs
 * a map operation, not a timer.
 */
export class Deadlines {
  readonly #clock: Clock
  readonly #expire: (id: number) => void
  readonly #atMs = new Map<number, number>()
  #armedAtMs = Infinity
  #cancel: () => void = () => undefined

  constructor(clock: Clock, expire: (id: number) => void) {
    this.#clock = clock
    this.#expire = expire
  }

  add(id: number, afterMs: number): void {
    const atMs = this.#clock.monotonicMs() + afterMs
    this.#atMs.set(id, atMs)
    if (atMs < this.#armedAtMs) this.#arm(atMs)
  }

  remove(id: number): void {
    this.#atMs.delete(id)
  }

  /** Forgets everything without expiring it. */
  clear(): void {
    this.#atMs.clear()
    this.#cancel()
    this.#armedAtMs = Infinity
  }

  #arm(atMs: number): void {
    this.#cancel()
    this.#armedAtMs = atMs
    this.#cancel = this.#clock.after(Math.max(1, Math.ceil(atMs - this.#clock.monotonicMs())), () => { this.#sweep() })
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs()
    this.#armedAtMs = Infinity
    let nextMs = Infinity
    for (const [id, atMs] of this.#atMs) {
      if (atMs <= nowMs) {
        this.#atMs.delete(id)
        this.#expire(id)
      } else if (atMs < nextMs) {
        nextMs = atMs
      }
    }
    // `#expire` may have added earlier deadlines and armed for them.
    if (nextMs < this.#armedAtMs) this.#arm(nextMs)
  }
}
