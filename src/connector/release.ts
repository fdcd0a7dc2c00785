import { bytesOf, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { RecordSealer } from "../crypto/sealed-record.ts"
import { checkRequest, encodeBulkItems, encodeBulkRequest, encodeSingleRequest, sealRelease } from "../crypto/session-release.ts"
import type { BulkItem } from "../crypto/session-release.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { assertStillValid } from "../wire/identity/validity.ts"
import { RELEASE_MS } from "../wire/limits.ts"
import type { ReleaseManyParams, ReleaseManyResult, ReleaseParams, ReleaseResult } from "../wire/messages/release.ts"
import type { Policy } from "./policy.ts"
import type { Session, SessionTable } from "./sessions.ts"
import type { EkeyStore, StoredEkey } from "./store/ekey-store.ts"

export interface ReleaserOptions {
  readonly store: EkeyStore
  readonly sealer: RecordSealer
  readonly sessions: SessionTable
  readonly policy: () => Policy
  readonly revocations: RevocationLists
  readonly clock: Clock
  readonly log: Logger
}

/** Who asks for whose ekey, once the request is proved. */
interface Ask {
  readonly session: Session
  readonly user: string
  /** 0 asks for the newest. */
  readonly version: number
  readonly workflow: string
  readonly operation: string
  readonly reason: string
}

interface Opened {
  readonly version: number
  /** Wiped by whoever asked for it. */
  readonly ekey: Buffer
}

/** Releases ekeys: only to a proved request of a valid worker, only what local policy allows, only sealed to that request. */
export class Releaser {
  readonly #options: ReleaserOptions

  constructor(options: ReleaserOptions) {
    this.#options = options
  }

  /**
   * @throws EkeyError ERR_DENIED alike for an unknown user and a forbidden one; ERR_SESSION,
   * ERR_SESSION_PROOF, ERR_REPLAY; ERR_NOT_DURABLE while the ekey's second copy is missing.
   */
  async release(params: ReleaseParams): Promise<ReleaseResult> {
    const version = params.version ?? 0
    const session = this.#options.sessions.find(params.session)
    const encoded = encodeSingleRequest({ ...contextOf(session, params), user: params.user, version })
    this.#accept(session, params.sequence, encoded, params.proof)
    const opened = await this.#open({ session, user: params.user, version, workflow: params.workflow, operation: params.operation, reason: params.reason })
    if (!opened) throw new EkeyError("ERR_DENIED", "not released")
    try {
      const terms = { version: opened.version, expiresAtMs: this.#options.clock.now() + RELEASE_MS }
      const sealed = sealRelease(session.keys.releaseKey, params.sequence, encoded, terms, opened.ekey)
      return { ...terms, sealed: toBase64url(sealed) }
    } finally {
      opened.ekey.fill(0)
    }
  }

  /** As `release` for many users at once: who is not released is marked so inside the sealed answer. */
  async releaseMany(params: ReleaseManyParams): Promise<ReleaseManyResult> {
    const { users, workflow, operation, reason } = params
    const session = this.#options.sessions.find(params.session)
    const encoded = encodeBulkRequest({ ...contextOf(session, params), users })
    this.#accept(session, params.sequence, encoded, params.proof)
    const items: BulkItem[] = []
    let plaintext: Buffer | undefined
    try {
      for (const user of users) items.push(await this.#open({ session, user, version: 0, workflow, operation, reason }) ?? { version: 0, ekey: null })
      plaintext = encodeBulkItems(items)
      const expiresAtMs = this.#options.clock.now() + RELEASE_MS
      const sealed = sealRelease(session.keys.releaseKey, params.sequence, encoded, { version: 0, expiresAtMs }, plaintext)
      return { expiresAtMs, sealed: toBase64url(sealed) }
    } finally {
      plaintext?.fill(0)
      for (const { ekey } of items) ekey?.fill(0)
    }
  }

  /** Free of waits, so that requests are judged in the order in which they came. */
  #accept(session: Session, sequence: number, encoded: Uint8Array, proof: string): void {
    const { revocations, clock } = this.#options
    checkRequest(session.keys.requestKey, encoded, bytesOf(proof))
    // A sequence is the nonce of its answer: each is answered at most once.
    if (sequence <= session.lastSequence) throw new EkeyError("ERR_REPLAY", "the request was seen before, or came out of order")
    session.lastSequence = sequence
    assertStillValid(session.worker, revocations, clock.now())
  }

  /** @returns null when the ekey is not released, whatever the reason: only the log has it. */
  async #open(ask: Ask): Promise<Opened | null> {
    const { store, sealer, log } = this.#options
    const { session, user, version, workflow, operation, reason } = ask
    const { name: worker } = session.worker.identity
    const { decision, rule } = this.#options.policy().evaluate({ worker, user, workflow })
    // Looked up even when it is denied, so that the time taken tells nothing.
    const stored: StoredEkey | null = version === 0 ? await store.readLatest(user) : await store.read({ user, version })
    if (decision === "deny" || !stored) {
      log.warn("release refused", { worker, user, workflow, operation, reason, because: decision === "deny" ? rule : "no such ekey" })
      return null
    }
    if (!stored.acknowledged) throw new EkeyError("ERR_NOT_DURABLE", "the ekey's second copy is not durable yet")
    const ekey = sealer.open({ user, version: stored.version }, stored.record)
    log.debug("ekey released", { worker, user, version: stored.version, workflow, operation, reason, rule })
    return { version: stored.version, ekey }
  }
}

function contextOf(session: Session, { sequence, operation, workflow, reason }: Pick<ReleaseParams, "sequence" | "operation" | "workflow" | "reason">) {
  // The schema has found the operation canonical.
  return { session: session.id, sequence, tenant: session.worker.identity.tenant ?? "", operation: bytesOf(operation), workflow, reason }
}
