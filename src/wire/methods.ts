import type { z } from "zod"
import { CertificateEnrolParams, CertificateEnrolResult, CertificateRenewParams, CertificateRenewResult, RevocationCurrentParams, RevocationCurrentResult } from "./messages/certificate.ts"
import { ProvisionParams, ProvisionResult, RecordsPutParams, RecordsPutResult } from "./messages/custody.ts"
import { ConnectorHelloParams, Empty, HelloResult, RevocationsUpdateParams, WorkerHelloParams } from "./messages/hello.ts"
import { JobCancelParams, JobFinishedParams, JobStartParams } from "./messages/job.ts"
import { OperationBeginParams, OperationBeginResult, OperationEndParams } from "./messages/operation.ts"
import { ReleaseManyParams, ReleaseManyResult, ReleaseParams, ReleaseResult } from "./messages/release.ts"
import { SessionOpenParams, SessionOpenResult } from "./messages/session.ts"

/** Who may call a method of whom. `authority` is reached through the gateway, over its local socket. */
export type Party = "worker" | "connector" | "cloud" | "authority" | "anyone"

interface Method {
  /** For the reference: one or two sentences. */
  readonly what: string
  readonly callers: readonly Party[]
  readonly callees: readonly Party[]
  readonly params: z.ZodType
  readonly result: z.ZodType
}

/** Every method of `ekey.v1`: the only source of types, validation and the reference in docs/protocol.md. */
export const METHODS = {
  "certificate.enrol": {
    what: "Asks the role's authority for a first certificate, with a one-time token. The gateway relays it.",
    callers: ["anyone"], callees: ["cloud", "authority"], params: CertificateEnrolParams, result: CertificateEnrolResult,
  },
  "certificate.renew": {
    what: "Asks the role's authority for the next certificate, by the key of the current one. The gateway relays it.",
    callers: ["connector", "worker", "cloud"], callees: ["cloud", "authority"], params: CertificateRenewParams, result: CertificateRenewResult,
  },
  "revocation.current": {
    what: "Asks an authority for its signed revocation list.",
    callers: ["cloud"], callees: ["authority"], params: RevocationCurrentParams, result: RevocationCurrentResult,
  },
  "revocation.update": {
    what: "Passes on revocation lists that are newer than those that came with the hello.",
    callers: ["cloud"], callees: ["connector", "worker"], params: RevocationsUpdateParams, result: Empty,
  },
  "connector.hello": {
    what: "The first request on a connector's link: nothing is asked of the connector before.",
    callers: ["connector"], callees: ["cloud"], params: ConnectorHelloParams, result: HelloResult,
  },
  "worker.hello": {
    what: "The first request on a worker's link: the worker takes no job before.",
    callers: ["worker"], callees: ["cloud"], params: WorkerHelloParams, result: HelloResult,
  },
  "session.open": {
    what: "Agrees on a session's keys with a connector of the worker's tenant. The gateway relays it.",
    callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: SessionOpenParams, result: SessionOpenResult,
  },
  "operation.begin": {
    what: "Begins an operation: the frame inside which ekeys are released to the worker.",
    callers: ["worker"], callees: ["cloud"], params: OperationBeginParams, result: OperationBeginResult,
  },
  "operation.end": {
    what: "Ends an operation. Repeating it with the same outcome changes nothing.",
    callers: ["worker"], callees: ["cloud"], params: OperationEndParams, result: Empty,
  },
  "ekey.release": {
    what: "Asks for one user's ekey, sealed to this request. The gateway relays it.",
    callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: ReleaseParams, result: ReleaseResult,
  },
  "ekey.releaseMany": {
    what: "Asks for the newest ekeys of many users, sealed as one to this request. The gateway relays it.",
    callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: ReleaseManyParams, result: ReleaseManyResult,
  },
  "ekey.provision": {
    what: "Has a user's first ekey made. Answered when it is durable in two places; repeating it changes nothing.",
    callers: ["cloud"], callees: ["connector"], params: ProvisionParams, result: ProvisionResult,
  },
  "records.put": {
    what: "Stores sealed records in their second place. The same bytes again succeed; other bytes for a known version are refused.",
    callers: ["connector"], callees: ["cloud"], params: RecordsPutParams, result: RecordsPutResult,
  },
  "job.start": {
    what: "Has a job of the worker's own config run. Answered as soon as it is accepted.",
    callers: ["cloud"], callees: ["worker"], params: JobStartParams, result: Empty,
  },
  "job.cancel": {
    what: "Ends a run's program; the run is still reported by job.finished.",
    callers: ["cloud"], callees: ["worker"], params: JobCancelParams, result: Empty,
  },
  "job.finished": {
    what: "Reports how a run ended. The worker repeats it until it is answered.",
    callers: ["worker"], callees: ["cloud"], params: JobFinishedParams, result: Empty,
  },
} as const satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS
export type ParamsOf<M extends MethodName> = z.infer<(typeof METHODS)[M]["params"]>
export type ResultOf<M extends MethodName> = z.infer<(typeof METHODS)[M]["result"]>
