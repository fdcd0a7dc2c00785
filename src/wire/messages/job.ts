import { z } from "zod"
import { namedValues } from "./named-values.ts"
import { Outcome } from "./operation.ts"
import { DeadlineMs, Id128, Name, UserId } from "./scalars.ts"
import { Product, Workflow } from "./workflows.ts"

/** Values for the parameters that the job's local definition declares; checked there again. */
export const JobParameters = namedValues(Name, z.string().max(1024)).refine((p) => Object.keys(p).length <= 32, "at most 32 parameters")
  .describe("at most 32 values for parameters that the job's local definition declares, by name")
export type JobParameters = z.infer<typeof JobParameters>

/** The scheduler names a job and a user; what is executed is the worker's own config. */
export const JobStartParams = z.strictObject({
  run: Id128.describe("the run's id; the same run is started once only"),
  job: Name.describe("a job of the worker's own config"),
  user: UserId.describe("whose data, and whose ekey"),
  product: Product.describe("for operation.begin"),
  workflow: Workflow.describe("for operation.begin and the releases"),
  parameters: JobParameters,
  deadlineMs: DeadlineMs,
})
export type JobStartParams = z.infer<typeof JobStartParams>

export const JobCancelParams = z.strictObject({ run: Id128.describe("the run to end; an unknown one is no error"), deadlineMs: DeadlineMs })
export type JobCancelParams = z.infer<typeof JobCancelParams>

/** A worker reports a run's end; repeated until it is answered. */
export const JobFinishedParams = z.strictObject({ run: Id128.describe("the run of job.start"), outcome: Outcome, deadlineMs: DeadlineMs })
export type JobFinishedParams = z.infer<typeof JobFinishedParams>
