import { z } from "zod"
import { MAX_RELEASE_USERS } from "../limits.ts"
import { base64url, DeadlineMs, EkeyVersion, Id128, TimestampMs, UserId } from "./scalars.ts"
import { Workflow } from "./workflows.ts"

/** Why the worker wants the ekey, in the worker's words; recorded as its claim. */
const Reason = z.string().max(256)

const request = {
  operation: Id128.describe("the operation of operation.begin"),
  session: Id128.describe("the session of session.open"),
  sequence: z.int().min(1).describe("counts up within the session; never repeats, never goes back"),
  workflow: Workflow.describe("the worker's claim; must be the operation's"),
  reason: Reason.describe("the worker's words, may be empty"),
  proof: base64url({ bytes: 32 }).describe("HMAC-SHA-256 by the session's request key over the request's canonical bytes"),
  deadlineMs: DeadlineMs,
}

export const ReleaseParams = z.strictObject({
  ...request,
  user: UserId.describe("whose ekey"),
  version: EkeyVersion.nullable().describe("null asks for the newest"),
})
export type ReleaseParams = z.infer<typeof ReleaseParams>

export const ReleaseResult = z.strictObject({
  version: EkeyVersion.describe("the released version"),
  expiresAtMs: TimestampMs.describe("the sealed ekey is to be refused after this time"),
  sealed: base64url({ bytes: 48 }).describe("the ekey sealed under the session's release key"),
})
export type ReleaseResult = z.infer<typeof ReleaseResult>

/** The newest ekeys of many users at once, for bulk workflows. */
export const ReleaseManyParams = z.strictObject({
  ...request,
  users: z.array(UserId).min(1).max(MAX_RELEASE_USERS).describe("whose ekeys"),
})
export type ReleaseManyParams = z.infer<typeof ReleaseManyParams>

export const ReleaseManyResult = z.strictObject({
  expiresAtMs: TimestampMs.describe("the sealed ekeys are to be refused after this time"),
  sealed: base64url({ maxBytes: 37 * MAX_RELEASE_USERS + 16 }).describe("37 bytes for each user in the order asked, sealed as one"),
})
export type ReleaseManyResult = z.infer<typeof ReleaseManyResult>
