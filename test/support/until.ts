import { systemClock } from "../../src/base/clock.ts"

/**
 * Waits for what another thread, process or socket does: looks at once and then every few
 * milliseconds, and fails with `what` after `withinMs`. For outcomes, never for "long enough".
 */
export async function until<T>(what: string, look: () => T | Promise<T>, withinMs = 5_000): Promise<NonNullable<T>> {
  const untilMs = systemClock.monotonicMs() + withinMs
  for (let pauseMs = 1; ; pauseMs = Math.min(50, pauseMs * 2)) {
    const seen = await look()
    if (seen !== undefined && seen !== null && seen !== false) return seen
    if (systemClock.monotonicMs() >= untilMs) throw new Error(`waited ${String(withinMs)} ms in vain: ${what}`)
    await systemClock.sleep(pauseMs)
  }
}
