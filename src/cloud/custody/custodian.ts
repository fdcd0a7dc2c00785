import type { ReleaseManyParams, ReleaseManyResult, ReleaseParams, ReleaseResult } from "../../wire/messages/release.ts"
import type { ProvisionResult } from "../../wire/messages/custody.ts"
import type { SessionOpenParams, SessionOpenResult } from "../../wire/messages/session.ts"

type WithoutDeadline<T> = Omit<T, "deadlineMs">

/**
 * Who holds a tenant's ekeys and answers for them. One adapter for each custody. Every method
 * answers within `remainingMs` or rejects with an EkeyError that says whether a retry helps.
 */
export interface Custodian {
  /** @throws EkeyError ERR_NO_CONNECTOR when nobody who holds the ekeys is there. */
  openSession(tenant: string, params: WithoutDeadline<SessionOpenParams>, remainingMs: number): Promise<SessionOpenResult>
  /** @throws EkeyError ERR_SESSION when the session is unknown here. */
  release(tenant: string, params: WithoutDeadline<ReleaseParams>, remainingMs: number): Promise<ReleaseResult>
  /** @throws EkeyError ERR_SESSION when the session is unknown here. */
  releaseMany(tenant: string, params: WithoutDeadline<ReleaseManyParams>, remainingMs: number): Promise<ReleaseManyResult>
  /** Makes a user's first ekey, durable in two places when it resolves. Repeating it changes nothing. */
  provision(tenant: string, user: string, remainingMs: number): Promise<ProvisionResult>
}
