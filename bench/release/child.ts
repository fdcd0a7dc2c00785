import { systemClock } from "../../src/base/clock.ts"
import { Order } from "./orders.ts"
import type { LoadOrder, Window } from "./orders.ts"
import { figuresOf } from "./statistics.ts"

/** Answers the parent's orders, one after the other, and ends with the parent. */
export function obeyParent(obey: (order: Order) => Promise<unknown>): void {
  process.on("message", (message) => {
    obey(Order.parse(message)).then(
      (result) => process.send?.({ result }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? error.stack : String(error) }),
    )
  })
  process.once("disconnect", () => { process.exit() })
}

/**
 * Runs a closed loop: `drive` keeps the order's requests outstanding until `isOver`, tells the
 * latency of each answer, and resolves when all are answered. Answers after the window don't count.
 */
export async function runWindow(
  { windowMs }: LoadOrder, drive: (isOver: (nowMs: number) => boolean, answered: (latencyMs: number) => void) => Promise<void>,
): Promise<Window> {
  const latenciesMs: number[] = []
  const startedUs = monotonicUs()
  const endMs = systemClock.monotonicMs() + windowMs
  await drive((nowMs) => nowMs >= endMs, (latencyMs) => { latenciesMs.push(latencyMs) })
  return { ...figuresOf(latenciesMs, windowMs), startedUs, endedUs: monotonicUs() }
}

function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}
