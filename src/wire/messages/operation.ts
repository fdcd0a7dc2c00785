import { z } from "zod"
import { namedValues } from "./named-values.ts"
import { DeadlineMs, Id128 } from "./scalars.ts"
import { Product, Workflow } from "./workflows.ts"

/** A worker begins one operation: the frame inside which ekeys are released to it. */
export const OperationBeginParams = z.strictObject({
  product: Product.describe("what is backed up or restored"),
  workflow: Workflow.describe("every release inside the operation must name the same"),
  run: Id128.nullable().describe("the scheduler's run that this operation serves, if any"),
  deadlineMs: DeadlineMs,
})
export type OperationBeginParams = z.infer<typeof OperationBeginParams>

export const OperationBeginResult = z.strictObject({ operation: Id128.describe("the operation's id, chosen by the gateway") })
export type OperationBeginResult = z.infer<typeof OperationBeginResult>

/** Counters that a job reports about itself, e.g. files and bytes. */
export const Statistics = namedValues(z.string().regex(/^[a-z][A-Za-z]{0,31}$/), z.number().min(0)).refine((s) => Object.keys(s).length <= 16, "at most 16 counters")
  .describe("at most 16 counters, by names of 1 to 32 letters that begin with a small one")
export type Statistics = z.infer<typeof Statistics>

const ExitCode = z.int().min(0).max(255).nullable().describe("of the program that did the work; null if there was none")

/** How an operation or a run ended. `reason` is an error code of docs/errors.md. */
export const Outcome = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("succeeded"), exitCode: ExitCode, statistics: Statistics }),
  z.strictObject({
    state: z.literal("failed"),
    exitCode: ExitCode,
    reason: z.string().regex(/^ERR_[A-Z_]{1,40}$/).describe("an error code of docs/errors.md"),
    detail: z.string().max(1000).describe("for people; never key material"),
  }),
]).describe("how the work ended")
export type Outcome = z.infer<typeof Outcome>

/** Ends an operation; repeating it with the same outcome changes nothing. */
export const OperationEndParams = z.strictObject({ operation: Id128.describe("the operation of operation.begin"), outcome: Outcome, deadlineMs: DeadlineMs })
export type OperationEndParams = z.infer<typeof OperationEndParams>
