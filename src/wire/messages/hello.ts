import { z } from "zod"
import { RevocationList } from "./certificate.ts"
import { DeadlineMs, Id128, Name, TimestampMs } from "./scalars.ts"

const SoftwareVersion = z.string().max(64).describe("name or version of the program, for logs")

/** The first message on a connector's link. */
export const ConnectorHelloParams = z.strictObject({
  instance: Id128.describe("random, one for each start of the process"),
  software: SoftwareVersion,
  deadlineMs: DeadlineMs,
})
export type ConnectorHelloParams = z.infer<typeof ConnectorHelloParams>

/**
 * The first message on a worker's link. `serves` is null on a link that only asks for ekeys and
 * takes no jobs; a worker may have several such links beside the one that serves.
 */
export const WorkerHelloParams = z.strictObject({
  instance: Id128.describe("random, one for each start of the process"),
  software: SoftwareVersion,
  serves: z.strictObject({
    jobs: z.array(Name).max(1000).describe("jobs that this worker's config defines"),
    runs: z.array(Id128).max(1000).describe("runs under way; the cloud gives up every other run of this worker"),
  }).nullable().describe("null on a link that takes no jobs"),
  deadlineMs: DeadlineMs,
})
export type WorkerHelloParams = z.infer<typeof WorkerHelloParams>

/** The gateway's answer: what the client needs to judge the gateway and its peers by itself. */
export const HelloResult = z.strictObject({
  nowMs: TimestampMs.describe("the gateway's clock"),
  revocations: z.array(RevocationList).max(3).describe("the newest list of each role that the gateway has"),
})
export type HelloResult = z.infer<typeof HelloResult>

export const RevocationsUpdateParams = z.strictObject({ revocations: z.array(RevocationList).min(1).max(3).describe("lists that are newer than those sent before"), deadlineMs: DeadlineMs })
export type RevocationsUpdateParams = z.infer<typeof RevocationsUpdateParams>

export const Empty = z.strictObject({})
export type Empty = z.infer<typeof Empty>
