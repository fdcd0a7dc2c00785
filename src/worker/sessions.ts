import type { Clock } from "../base/clock.ts"
import type { LocalIdentity } from "../wire/identity/identity-folder.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { assertStillValid } from "../wire/identity/validity.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import { openSession } from "./session.ts"
import type { WorkerSession } from "./session.ts"

/** A session this close to its end is not used for a new request. */
const SPARE_MS = 30_000

export interface SessionsOptions {
  readonly identity: () => LocalIdentity
  readonly revocations: RevocationLists
  readonly clock: Clock
}

/** Keeps one session at a time, and opens the next when it ends: key agreement is amortised over it. */
export class Sessions {
  readonly #options: SessionsOptions
  #held: WorkerSession | undefined
  #opening: { readonly peer: WirePeer; readonly session: Promise<WorkerSession> } | undefined

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /** The live session over `peer`, if one is open already. */
  held(peer: WirePeer): WorkerSession | undefined {
    return this.#held?.peer === peer && this.#isUsable(this.#held) ? this.#held : undefined
  }

  /** Opens a session over `peer`; concurrent callers share one handshake. Rejects as `openSession`. */
  async open(peer: WirePeer, deadlineMs: number): Promise<WorkerSession> {
    if (this.#opening?.peer !== peer) {
      const { identity, revocations, clock } = this.#options
      this.#opening = { peer, session: openSession({ peer, identity: identity(), revocations, clock, deadlineMs }) }
    }
    const opening = this.#opening
    try {
      this.#held = await opening.session
      return this.#held
    } finally {
      if (this.#opening === opening) this.#opening = undefined
    }
  }

  /** Drops a session that the custodian or the gateway no longer knows. */
  forget(session: WorkerSession): void {
    if (this.#held === session) this.#held = undefined
  }

  #isUsable(session: WorkerSession): boolean {
    const { revocations, clock } = this.#options
    if (clock.now() + SPARE_MS >= session.expiresAtMs) return false
    try {
      assertStillValid(session.custodian, revocations, clock.now())
      return true
    } catch {
      return false // Opening the next one names the reason.
    }
  }
}
