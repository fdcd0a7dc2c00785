import { randomBytes } from "node:crypto"
import { bytesOf, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { codeOf, EkeyError } from "../base/errors.ts"
import { Secret } from "../base/secret.ts"
import { decodeBulkItems, encodeBulkRequest, encodeSingleRequest, openRelease, proveRequest } from "../crypto/session-release.ts"
import { MAX_CLOCK_SKEW_MS } from "../wire/limits.ts"
import type { Outcome } from "../wire/messages/operation.ts"
import type { Product, Workflow } from "../wire/messages/workflows.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import type { WorkerSession } from "./session.ts"
import { Sessions } from "./sessions.ts"
import type { SessionsOptions } from "./sessions.ts"

/** Default for how long one request may take. */
export const DEFAULT_DEADLINE_MS = 10_000

export interface ClientOptions extends SessionsOptions {
  /** The link to the gateway, waited for within the deadline. */
  readonly link: { ready(withinMs: number): Promise<WirePeer>; readonly peer: WirePeer | undefined }
  readonly clock: Clock
}

export interface OperationOptions {
  readonly product: Product
  readonly workflow: Workflow
  /** The scheduler's run that the operation serves. */
  readonly run?: string
  readonly deadlineMs?: number
}

export interface ReleasedEkey {
  readonly user: string
  readonly version: number
  /** 32 bytes; the caller consumes or wipes it. */
  readonly ekey: Secret
}

/** The SDK of programs that work with ekeys: one client for each process, operations from it. */
export class EkeyClient {
  readonly #options: ClientOptions
  readonly #sessions: Sessions

  constructor(options: ClientOptions) {
    this.#options = options
    this.#sessions = new Sessions(options)
  }

  /** Begins an operation. @throws EkeyError of the gateway, or ERR_UNREACHABLE without a link. */
  async begin(options: OperationOptions): Promise<Operation> {
    const { product, workflow, run, deadlineMs = DEFAULT_DEADLINE_MS } = options
    const { link, clock } = this.#options
    const untilMs = clock.monotonicMs() + deadlineMs
    const peer = await link.ready(deadlineMs)
    const { operation } = await peer.call("operation.begin", { product, workflow, run: run ?? null }, untilMs - clock.monotonicMs())
    return new Operation(this.#options, this.#sessions, operation, workflow)
  }
}

export interface ReleaseOptions {
  /** Default: the newest. */
  readonly version?: number
  /** Recorded by the connector as the worker's claim. */
  readonly reason?: string
  readonly deadlineMs?: number
}

/** One operation: the frame inside which ekeys are released, until it is ended. */
export class Operation {
  readonly id: string
  readonly #idBytes: Uint8Array
  readonly #workflow: Workflow
  readonly #options: ClientOptions
  readonly #sessions: Sessions

  constructor(options: ClientOptions, sessions: Sessions, id: string, workflow: Workflow) {
    this.#options = options
    this.#sessions = sessions
    this.id = id
    this.#idBytes = bytesOf(id)
    this.#workflow = workflow
  }

  /**
   * Asks for one user's ekey and opens it.
   * @throws EkeyError ERR_DENIED alike for a user that is unknown and one that policy refuses;
   * ERR_DECRYPT, ERR_CUSTODIAN, ERR_SESSION_PROOF when somebody on the way lied; retryable codes
   * when nobody could answer in time.
   */
  async release(user: string, options: ReleaseOptions = {}): Promise<ReleasedEkey> {
    const { version, reason = "" } = options
    return await this.#inSession(options.deadlineMs, async (session, remainingMs) => {
      const sequence = ++session.lastSequence
      const encoded = encodeSingleRequest({ ...this.#context(session, sequence, reason), user, version: version ?? 0 })
      const answer = await session.peer.call("ekey.release", {
        operation: this.id, session: session.id, sequence, workflow: this.#workflow, reason, user,
        version: version ?? null, proof: toBase64url(proveRequest(session.keys.requestKey, encoded)),
      }, remainingMs())
      this.#refuseExpired(answer.expiresAtMs)
      if (version !== undefined && answer.version !== version) throw new EkeyError("ERR_DECRYPT", "another version was answered than asked for")
      const ekey = openRelease(session.keys.releaseKey, sequence, encoded, answer, bytesOf(answer.sealed))
      return { user, version: answer.version, ekey: new Secret(ekey) }
    })
  }

  /**
   * Asks for the newest ekeys of up to MAX_RELEASE_USERS users in one request.
   * @returns one item for each user in the order asked; null where there is none or policy refuses.
   */
  async releaseMany(users: readonly string[], options: Omit<ReleaseOptions, "version"> = {}): Promise<(ReleasedEkey | null)[]> {
    const { reason = "" } = options
    return await this.#inSession(options.deadlineMs, async (session, remainingMs) => {
      const sequence = ++session.lastSequence
      const encoded = encodeBulkRequest({ ...this.#context(session, sequence, reason), users })
      const answer = await session.peer.call("ekey.releaseMany", {
        operation: this.id, session: session.id, sequence, workflow: this.#workflow, reason, users: [...users],
        proof: toBase64url(proveRequest(session.keys.requestKey, encoded)),
      }, remainingMs())
      this.#refuseExpired(answer.expiresAtMs)
      const plaintext = openRelease(session.keys.releaseKey, sequence, encoded, { version: 0, expiresAtMs: answer.expiresAtMs }, bytesOf(answer.sealed))
      try {
        return decodeBulkItems(plaintext, users.length).map(({ version, ekey }, index) =>
          ekey === null ? null : { user: users[index] ?? "", version, ekey: new Secret(Buffer.from(ekey)) })
      } finally {
        plaintext.fill(0)
      }
    })
  }

  /** Ends the operation. Repeating it with the same outcome changes nothing. */
  async end(outcome: Outcome, deadlineMs = DEFAULT_DEADLINE_MS): Promise<void> {
    const { link, clock } = this.#options
    const untilMs = clock.monotonicMs() + deadlineMs
    const peer = await link.ready(deadlineMs)
    await peer.call("operation.end", { operation: this.id, outcome }, untilMs - clock.monotonicMs())
  }

  #context(session: WorkerSession, sequence: number, reason: string) {
    return { session: session.idBytes, sequence, tenant: session.tenant, operation: this.#idBytes, workflow: this.#workflow, reason }
  }

  /**
   * Runs `use` in a live session, and once more in a new one if the other end no longer knew the
   * first. Nothing else is repeated: what to do about other errors is the caller's to decide.
   */
  async #inSession<T>(deadlineMs = DEFAULT_DEADLINE_MS, use: (session: WorkerSession, remainingMs: () => number) => Promise<T>): Promise<T> {
    const { link, clock } = this.#options
    const untilMs = clock.monotonicMs() + deadlineMs
    const remainingMs = (): number => untilMs - clock.monotonicMs()
    const peer = link.peer ?? await link.ready(deadlineMs)
    const session = this.#sessions.held(peer) ?? await this.#sessions.open(peer, remainingMs())
    try {
      return await use(session, remainingMs)
    } catch (error) {
      if (codeOf(error) !== "ERR_SESSION") throw error
      this.#sessions.forget(session)
      return await use(this.#sessions.held(peer) ?? await this.#sessions.open(peer, remainingMs()), remainingMs)
    }
  }

  #refuseExpired(expiresAtMs: number): void {
    if (this.#options.clock.now() > expiresAtMs + MAX_CLOCK_SKEW_MS) throw new EkeyError("ERR_DEADLINE", "the sealed ekey came after its expiry")
  }
}

/** A random id for this start of the process. */
export function newInstance(): string {
  return toBase64url(randomBytes(16))
}
