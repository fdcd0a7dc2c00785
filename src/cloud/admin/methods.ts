import { z } from "zod"
import { JobParameters } from "../../wire/messages/job.ts"
import { namedValues } from "../../wire/messages/named-values.ts"
import { DeadlineMs, EkeyVersion, Name, TenantId, TimestampMs, UserId } from "../../wire/messages/scalars.ts"
import { Product, Workflow } from "../../wire/messages/workflows.ts"

const ofTenant = { tenant: TenantId, deadlineMs: DeadlineMs }

const UserView = z.strictObject({ user: UserId, state: z.enum(["provisioning", "active"]), version: EkeyVersion.nullable(), createdAtMs: TimestampMs })
const ScheduleView = z.strictObject({
  name: Name, user: UserId, product: Product, workflow: Workflow, job: Name, cron: z.string().max(128), parameters: JobParameters, enabled: z.boolean(),
})
const RunView = z.strictObject({
  id: z.string(), schedule: z.string(), user: UserId, job: z.string(), worker: z.string().nullable(),
  state: z.enum(["starting", "running", "succeeded", "failed"]), reason: z.string().nullable(), detail: z.string().nullable(),
  exitCode: z.int().nullable(), statistics: namedValues(z.string(), z.number()).nullable(), startedAtMs: TimestampMs, endedAtMs: TimestampMs.nullable(),
})
const PeerView = z.strictObject({ role: z.enum(["connector", "worker"]), tenant: TenantId, name: Name, notAfterMs: TimestampMs, jobs: z.array(Name) })

/** What `ekey-cloud user|schedule|run|status` asks the running gateway over its local socket. */
export const ADMIN_METHODS = {
  "user.add": { params: z.strictObject({ ...ofTenant, user: UserId }), result: z.strictObject({ version: EkeyVersion, created: z.boolean() }) },
  "user.list": { params: z.strictObject(ofTenant), result: z.strictObject({ users: z.array(UserView) }) },
  "schedule.add": { params: z.strictObject({ ...ofTenant, schedule: ScheduleView }), result: z.strictObject({}) },
  "schedule.remove": { params: z.strictObject({ ...ofTenant, name: Name }), result: z.strictObject({}) },
  "schedule.list": { params: z.strictObject(ofTenant), result: z.strictObject({ schedules: z.array(ScheduleView) }) },
  "schedule.start": { params: z.strictObject({ ...ofTenant, name: Name }), result: z.strictObject({ run: z.string() }) },
  "run.list": { params: z.strictObject({ ...ofTenant, schedule: Name, limit: z.int().min(1).max(500) }), result: z.strictObject({ runs: z.array(RunView) }) },
  "status": { params: z.strictObject({ deadlineMs: DeadlineMs }), result: z.strictObject({ peers: z.array(PeerView) }) },
} as const
export type AdminMethods = typeof ADMIN_METHODS
