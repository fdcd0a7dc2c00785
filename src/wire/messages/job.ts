import { z } from "zod"
import { Outcome } from "./operation.ts"
import { DeadlineMs, Id128, Name, UserId } from "./scalars.ts"
import { Product, Workflow } from "./workflows.ts"

/** Values for the parameters that the job's local definition declares; checked there again. */
export const JobParameters = z.record(Name, z.string().max(1024)).refine((p) => Object.keys(p).length <= 32, "at most 32 parameters")
export type JobParameters = z.infer<typeof JobParameters>

/** The scheduler names a job and a user; what is executed is the worker's own config. */
export const JobStartParams = z.strictObject({
  run: Id128, job: Name, user: UserId, product: Product, workflow: Workflow, parameters: JobParameters, deadlineMs: DeadlineMs,
})
export type JobStartParams = z.infer<typeof JobStartParams>

export const JobCancelParams = z.strictObject({ run: Id128, deadlineMs: DeadlineMs })
export type JobCancelParams = z.infer<typeof JobCancelParams>

/** A worker reports a run's end; repeated until it is answered. */
export const JobFinishedParams = z.strictObject({ run: Id128, outcome: Outcome, deadlineMs: DeadlineMs })
export type JobFinishedParams = z.infer<typeof JobFinishedParams>
