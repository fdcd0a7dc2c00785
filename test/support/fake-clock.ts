import { setImmediate as nextTurn } from "node:timers/promises"
import type { Clock } from "../../src/base/clock.ts"

/** 2026-01-01T00:00:00Z: where the wall clock of every fake starts unless told otherwise. */
export const START_MS = Date.UTC(2026, 0, 1)

interface Timer {
  readonly dueMs: number
  readonly kind: "sleep" | "callback"
  readonly fire: () => void
}

interface Waiter {
  readonly sleepers: number
  readonly resolve: () => void
}

/**
 * A clock that stands still until a test turns it. Timers fire in the order in which they are due,
 * those due together in the order in which they were set. A timer of 0 ms fires at the next `tick`.
 */
export class FakeClock implements Clock {
  #wallMs: number
  #monotonicMs = 0
  #ticking = false
  readonly #timers = new Set<Timer>()
  #waiters: Waiter[] = []

  constructor(options: { nowMs?: number } = {}) {
    this.#wallMs = options.nowMs ?? START_MS
  }

  now(): number {
    return this.#wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#timers.delete(timer)
        // As the real clock does: whatever the signal carries is what the sleeper gets.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        reject(signal?.reason)
      }
      const timer = this.#timer("sleep", ms, () => {
        signal?.removeEventListener("abort", abort)
        resolve()
      })
      if (signal?.aborted) {
        abort()
        return
      }
      signal?.addEventListener("abort", abort, { once: true })
      this.#timers.add(timer)
      this.#announce()
    })
  }

  after(ms: number, run: () => void): () => void {
    const timer = this.#timer("callback", ms, run)
    this.#timers.add(timer)
    return () => { this.#timers.delete(timer) }
  }

  /**
   * Lets `ms` pass on both clocks and fires what falls due, letting promise jobs run before, between
   * and after. What a fired timer sets is due relative to the time at which it fired. Real I/O is not
   * waited for: `sleeping` does that. Rejects with what a callback throws.
   */
  async tick(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError("time passes forwards only: use jump for the wall clock")
    if (this.#ticking) throw new Error("await the tick under way before the next")
    this.#ticking = true
    try {
      await nextTurn()
      const endMs = this.#monotonicMs + ms
      for (let timer = this.#next(endMs); timer; timer = this.#next(endMs)) {
        this.#advanceTo(timer.dueMs)
        this.#timers.delete(timer)
        timer.fire()
        await nextTurn()
      }
      this.#advanceTo(endMs)
    } finally {
      this.#ticking = false
    }
  }

  /** Steps the wall clock alone, by NTP or by hand: nothing falls due. Negative steps go back. */
  jump(ms: number): void {
    this.#wallMs += ms
  }

  /** Resolves as soon as `sleepers` calls of `sleep` are parked; callbacks don't count. */
  sleeping(sleepers = 1): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ sleepers, resolve })
      this.#announce()
    })
  }

  /** How many calls of `sleep` are parked. */
  get sleepers(): number {
    return this.#count("sleep")
  }

  /** How many callbacks of `after` are neither fired nor cancelled. */
  get callbacks(): number {
    return this.#count("callback")
  }

  #timer(kind: Timer["kind"], ms: number, fire: () => void): Timer {
    return { kind, dueMs: this.#monotonicMs + Math.max(0, ms), fire }
  }

  /** The first timer due by `endMs`: a Set keeps the order in which timers were set. */
  #next(endMs: number): Timer | undefined {
    let first: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (!first || timer.dueMs < first.dueMs)) first = timer
    }
    return first
  }

  #advanceTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }

  #count(kind: Timer["kind"]): number {
    let count = 0
    for (const timer of this.#timers) if (timer.kind === kind) count++
    return count
  }

  #announce(): void {
    const parked = this.sleepers
    const ready = this.#waiters.filter((waiter) => waiter.sleepers <= parked)
    this.#waiters = this.#waiters.filter((waiter) => waiter.sleepers > parked)
    for (const waiter of ready) waiter.resolve()
  }
}
