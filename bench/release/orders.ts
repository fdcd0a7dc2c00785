import { z } from "zod"

/** What the parent asks of a process under load. */
export const Order = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("start"), port: z.int(), identity: z.string() }),
  z.strictObject({ do: z.literal("load"), kind: z.enum(["single", "bulk"]), inFlight: z.int().min(1), windowMs: z.number().min(1) }),
])
export type Order = z.infer<typeof Order>
export type LoadOrder = Extract<Order, { do: "load" }>

/** Loads of a window: `started` and `ended` are microseconds of the clock that V8's profiles use. */
export const LoadResult = z.strictObject({
  latenciesMs: z.array(z.number()),
  startedUs: z.number(),
  endedUs: z.number(),
})
export type LoadResult = z.infer<typeof LoadResult>
