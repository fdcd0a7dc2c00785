import { z } from "zod"
import { DeadlineMs, Id128 } from "./scalars.ts"
import { Product, Workflow } from "./workflows.ts"

/** A worker begins one operation: the frame inside which ekeys are released to it. */
export const OperationBeginParams = z.strictObject({
  product: Product,
  workflow: Workflow,
  run: Id128.nullable().describe("the scheduler's run that this operation serves, if any"),
  deadlineMs: DeadlineMs,
})
export type OperationBeginParams = z.infer<typeof OperationBeginParams>

export const OperationBeginResult = z.strictObject({ operation: Id128 })
export type OperationBeginResult = z.infer<typeof OperationBeginResult>

/** Counters that a job reports about itself, e.g. files and bytes. */
export const Statistics = z.record(z.string().regex(/^[a-z][A-Za-z]{0,31}$/), z.number().min(0)).refine((s) => Object.keys(s).length <= 16, "at most 16 counters")
export type Statistics = z.infer<typeof Statistics>

/** How an operation or a run ended. `reason` is an error code of docs/errors.md. */
export const Outcome = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("succeeded"), exitCode: z.int().min(0).max(255).nullable(), statistics: Statistics }),
  z.strictObject({
    state: z.literal("failed"),
    exitCode: z.int().min(0).max(255).nullable(),
    reason: z.string().regex(/^ERR_[A-Z_]{1,40}$/),
    detail: z.string().max(1000).describe("for people; never key material"),
  }),
])
export type Outcome = z.infer<typeof Outcome>

/** Ends an operation; repeating it with the same outcome changes nothing. */
export const OperationEndParams = z.strictObject({ operation: Id128, outcome: Outcome, deadlineMs: DeadlineMs })
export type OperationEndParams = z.infer<typeof OperationEndParams>
