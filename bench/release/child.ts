import { systemClock } from "../../src/base/clock.ts"
import type { LoadOrder, LoadResult } from "./orders.ts"
import { Order } from "./orders.ts"

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
 * Runs a closed loop: `drive` keeps `inFlight` requests outstanding until `isOver`, tells the latency
 * of each answer, and resolves when all are answered. Answers after the window don't count.
 */
export async function runWindow(order: LoadOrder, drive: (isOver: (nowMs: number) => boolean, answered: (latencyMs: number) => void) => Promise<void>): Promise<LoadResult> {
  const latenciesMs: number[] = []
  const startedUs = monotonicUs()
  const endMs = systemClock.monotonicMs() + order.windowMs
  await drive((nowMs) => nowMs >= endMs, (latencyMs) => { latenciesMs.push(latencyMs) })
  return { latenciesMs, startedUs, endedUs: monotonicUs() }
}

/** What V8's profiles are stamped with. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}
