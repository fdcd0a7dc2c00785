import { setTimeout as delay } from "node:timers/promises"

/** Time as an argument, so that tests turn it by hand. */
export interface Clock {
  /** Wall time in milliseconds since the Unix epoch. May jump; use for certificates and records. */
  now(): number
  /** Milliseconds from an arbitrary start. Never jumps; use for deadlines and durations. */
  monotonicMs(): number
  /**
   * Resolves after `ms`; rejects with the signal's reason when aborted. Long waits are for loops
   * that poll: a suspended host wakes late.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `run` once after `ms`, unless cancelled by the returned function. Keeps no process alive. */
  after(ms: number, run: () => void): () => void
}

/** Uniform in [0, 1); for jitter and spreading, never for secrets. */
export const systemRandom = (): number => Math.random()

/** Node fires any delay above this at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(Math.min(ms, MAX_TIMER_MS), undefined, signal ? { signal } : {})
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw error
    }
  },
  after: (ms, run) => {
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS))
    timer.unref()
    return () => { clearTimeout(timer) }
  },
}
