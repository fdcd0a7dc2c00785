import { randomBytes } from "node:crypto"
import { bytesOf, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import { encapsulate } from "../crypto/hpke.ts"
import { signPss, verifyPss } from "../crypto/rsa.ts"
import { deriveSessionKeys, encodeOffer, encodeTranscript, SESSION_INFO } from "../crypto/session-keys.ts"
import type { SessionKeys } from "../crypto/session-keys.ts"
import { parseCertificate } from "../crypto/x509.ts"
import type { LocalIdentity } from "../wire/identity/identity-folder.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { assertStillValid } from "../wire/identity/validity.ts"
import { verifyPeer } from "../wire/identity/verification.ts"
import type { VerifiedPeer } from "../wire/identity/verification.ts"
import { MAX_CLOCK_SKEW_MS, SESSION_MS } from "../wire/limits.ts"
import type { SessionOpenParams, SessionOpenResult } from "../wire/messages/session.ts"

/** Bounds what a flood of offers can hold; the oldest session of a worker gives way. */
const MAX_SESSIONS_PER_WORKER = 64
const MAX_SESSIONS = 10_000

export interface Session {
  readonly id: Uint8Array
  readonly worker: VerifiedPeer
  readonly keys: SessionKeys
  readonly expiresAtMs: number
  /** The highest sequence that was accepted. */
  lastSequence: number
}

export interface SessionTableOptions {
  readonly identity: () => LocalIdentity
  readonly revocations: RevocationLists
  readonly clock: Clock
  readonly log: Logger
}

/** The connector's end of the sessions that workers opened with it. They live in memory only. */
export class SessionTable {
  readonly #options: SessionTableOptions
  readonly #sessions = new Map<string, Session>()
  /** Nonces of offers that were accepted, until their offers are too old to be accepted again. */
  readonly #seenNonces = new Map<string, number>()

  constructor(options: SessionTableOptions) {
    this.#options = options
    options.revocations.subscribe(() => { this.#dropInvalid() })
  }

  /**
   * Opens a session with the worker that signed the offer.
   * @throws EkeyError the named reason for which the worker's certificate is refused; ERR_SESSION_PROOF; ERR_REPLAY.
   */
  async open(params: SessionOpenParams): Promise<SessionOpenResult> {
    const { clock, log } = this.#options
    const own = this.#options.identity()
    const offered = {
      workerCertificate: bytesOf(params.certificate),
      kemPublicKey: bytesOf(params.kemPublicKey),
      nonce: bytesOf(params.nonce),
      issuedAtMs: params.issuedAtMs,
    }
    const worker = this.#judge(offered.workerCertificate, own)
    const offer = encodeOffer(offered)
    const workerSignature = bytesOf(params.signature)
    if (!verifyPss(worker.publicKey, offer, workerSignature)) throw new EkeyError("ERR_SESSION_PROOF", "the offer's signature does not match")
    this.#refuseReplay(params.nonce, params.issuedAtMs)

    const { encapsulatedKey, exporter } = await encapsulate(offered.kemPublicKey, SESSION_INFO)
    const id = randomBytes(16)
    const expiresAtMs = Math.min(clock.now() + SESSION_MS, worker.notAfterMs, own.notAfterMs)
    const transcript = encodeTranscript(offer, workerSignature, { session: id, certificate: own.certificateDer, encapsulatedKey, expiresAtMs })
    const signature = await signPss(own.privateKey, transcript)
    const session = toBase64url(id)
    this.#insert(session, { id, worker, keys: await deriveSessionKeys(exporter, transcript), expiresAtMs, lastSequence: 0 })
    log.info("session opened", { worker: worker.identity.name, expiresAtMs })
    return { session, certificate: toBase64url(own.certificateDer), encapsulatedKey: toBase64url(encapsulatedKey), expiresAtMs, signature: toBase64url(signature) }
  }

  /** @throws EkeyError ERR_SESSION when there is none, or it has ended. */
  find(id: string): Session {
    const session = this.#sessions.get(id)
    if (!session) throw new EkeyError("ERR_SESSION", "no such session")
    if (this.#options.clock.now() >= session.expiresAtMs) {
      this.#sessions.delete(id)
      throw new EkeyError("ERR_SESSION", "the session has ended")
    }
    return session
  }

  #judge(certificateDer: Uint8Array, own: LocalIdentity): VerifiedPeer {
    const certificate = parseCertificate(certificateDer)
    const { tenant } = own.identity
    if (tenant === null) throw new EkeyError("ERR_CERT_TENANT", "this end has no tenant")
    return verifyPeer({ certificate, expect: { role: "worker", tenant }, trust: own.trust, revocations: this.#options.revocations, nowMs: this.#options.clock.now() })
  }

  #refuseReplay(nonce: string, issuedAtMs: number): void {
    const nowMs = this.#options.clock.now()
    if (Math.abs(nowMs - issuedAtMs) > MAX_CLOCK_SKEW_MS) throw new EkeyError("ERR_SESSION_PROOF", "the offer is too old, or the clocks differ by more than 5 minutes")
    for (const [seen, untilMs] of this.#seenNonces) {
      if (untilMs >= nowMs) break // Insertion order is close to expiry order: the rest is newer.
      this.#seenNonces.delete(seen)
    }
    if (this.#seenNonces.has(nonce)) throw new EkeyError("ERR_REPLAY", "the offer was seen before")
    this.#seenNonces.set(nonce, nowMs + 2 * MAX_CLOCK_SKEW_MS)
  }

  #insert(id: string, session: Session): void {
    const ofWorker = [...this.#sessions].filter(([, other]) => other.worker.identity.name === session.worker.identity.name)
    const oldest = ofWorker.length >= MAX_SESSIONS_PER_WORKER ? ofWorker[0]?.[0] : this.#sessions.size >= MAX_SESSIONS ? this.#sessions.keys().next().value : undefined
    if (oldest !== undefined) this.#sessions.delete(oldest)
    this.#sessions.set(id, session)
  }

  #dropInvalid(): void {
    const { revocations, clock, log } = this.#options
    for (const [id, session] of this.#sessions) {
      try {
        assertStillValid(session.worker, revocations, clock.now())
      } catch {
        // The reason is the list that just came; that the session ended is what counts.
        this.#sessions.delete(id)
        log.warn("session ended", { worker: session.worker.identity.name })
      }
    }
  }
}
