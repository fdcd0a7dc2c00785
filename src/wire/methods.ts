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
  readonly callers: readonly Party[]
  readonly callees: readonly Party[]
  readonly params: z.ZodType
  readonly result: z.ZodType
}

/** Every method of `ekey.v1`: the only source of types, validation and the reference in docs/protocol.md. */
export const METHODS = {
  "certificate.enrol": { callers: ["anyone"], callees: ["cloud", "authority"], params: CertificateEnrolParams, result: CertificateEnrolResult },
  "certificate.renew": { callers: ["connector", "worker", "cloud"], callees: ["cloud", "authority"], params: CertificateRenewParams, result: CertificateRenewResult },
  "revocation.current": { callers: ["cloud"], callees: ["authority"], params: RevocationCurrentParams, result: RevocationCurrentResult },
  "revocation.update": { callers: ["cloud"], callees: ["connector", "worker"], params: RevocationsUpdateParams, result: Empty },
  "connector.hello": { callers: ["connector"], callees: ["cloud"], params: ConnectorHelloParams, result: HelloResult },
  "worker.hello": { callers: ["worker"], callees: ["cloud"], params: WorkerHelloParams, result: HelloResult },
  "session.open": { callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: SessionOpenParams, result: SessionOpenResult },
  "operation.begin": { callers: ["worker"], callees: ["cloud"], params: OperationBeginParams, result: OperationBeginResult },
  "operation.end": { callers: ["worker"], callees: ["cloud"], params: OperationEndParams, result: Empty },
  "ekey.release": { callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: ReleaseParams, result: ReleaseResult },
  "ekey.releaseMany": { callers: ["worker", "cloud"], callees: ["cloud", "connector"], params: ReleaseManyParams, result: ReleaseManyResult },
  "ekey.provision": { callers: ["cloud"], callees: ["connector"], params: ProvisionParams, result: ProvisionResult },
  "records.put": { callers: ["connector"], callees: ["cloud"], params: RecordsPutParams, result: RecordsPutResult },
  "job.start": { callers: ["cloud"], callees: ["worker"], params: JobStartParams, result: Empty },
  "job.cancel": { callers: ["cloud"], callees: ["worker"], params: JobCancelParams, result: Empty },
  "job.finished": { callers: ["worker"], callees: ["cloud"], params: JobFinishedParams, result: Empty },
} as const satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS
export type ParamsOf<M extends MethodName> = z.infer<(typeof METHODS)[M]["params"]>
export type ResultOf<M extends MethodName> = z.infer<(typeof METHODS)[M]["result"]>
