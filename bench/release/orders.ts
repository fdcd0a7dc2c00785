import { z } from "zod"

/** What the parent asks of the processes under load. */
export const Order = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("start"), port: z.int(), identity: z.string() }),
  z.strictObject({ do: z.literal("load"), kind: z.enum(["single", "bulk"]), inFlight: z.int().min(1), windowMs: z.number().min(1) }),
])
export type Order = z.infer<typeof Order>
export type StartOrder = Extract<Order, { do: "start" }>
export type LoadOrder = Extract<Order, { do: "load" }>

/** What a window of load showed; when it was, by the clock that V8's profiles are stamped with. */
export const Window = z.strictObject({
  perSecond: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
  startedUs: z.number(),
  endedUs: z.number(),
})
export type Window = z.infer<typeof Window>
