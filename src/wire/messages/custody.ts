import { z } from "zod"
import { base64url, DeadlineMs, EkeyVersion, UserId } from "./scalars.ts"

/** The cloud asks the creating connector for a user's first ekey. Repeating it changes nothing. */
export const ProvisionParams = z.strictObject({ user: UserId, deadlineMs: DeadlineMs })
export type ProvisionParams = z.infer<typeof ProvisionParams>

/** Answered only when the sealed record is durable on the connector and in the cloud's blind copy. */
export const ProvisionResult = z.strictObject({
  version: EkeyVersion.describe("the user's newest version"),
  created: z.boolean().describe("whether this request made it"),
})
export type ProvisionResult = z.infer<typeof ProvisionResult>

/** A sealed record as the connector stores it; the cloud can't open it. */
export const BlindCopy = z.strictObject({ user: UserId, version: EkeyVersion, record: base64url({ maxBytes: 256 }).describe("a sealed record") })
export type BlindCopy = z.infer<typeof BlindCopy>

/** The second place. The same bytes again succeed; other bytes for a known version are refused. */
export const RecordsPutParams = z.strictObject({ records: z.array(BlindCopy).min(1).max(500).describe("sealed records that the cloud has not acknowledged yet"), deadlineMs: DeadlineMs })
export type RecordsPutParams = z.infer<typeof RecordsPutParams>

export const RecordsPutResult = z.strictObject({ stored: z.int().min(0).describe("how many records are durable now: all of the request") })
export type RecordsPutResult = z.infer<typeof RecordsPutResult>
