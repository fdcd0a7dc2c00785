import { fromBase64url } from "../../base/bytes.ts"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { encodeFields, uint64 } from "../../crypto/fields.ts"
import { verifyPss } from "../../crypto/rsa.ts"
import { MAX_CLOCK_SKEW_MS } from "../limits.ts"
import { RevocationList } from "../messages/certificate.ts"
import type { Role } from "./spiffe.ts"
import type { Trust } from "./trust.ts"

/** How long a list holds: a verifier that has no newer one refuses everybody of that role. */
export const REVOCATION_LIFE_MS = 24 * 60 * 60_000

/** What a verification asks about revocation. */
export interface RevocationCheck {
  isRevoked(role: Role, serial: string): boolean
  /** @throws EkeyError ERR_REVOCATION_STALE if there is no list for the role, or it holds no longer. */
  assertFresh(role: Role, nowMs: number): void
}

/** The bytes under a list's signature: label `ekey.v1 revocations`, then each field, serials last as text. */
export function revocationBytes(list: Omit<RevocationList, "signature">): Buffer {
  return encodeFields("ekey.v1 revocations", [
    list.role, uint64(list.number), uint64(list.issuedAtMs), uint64(list.nextUpdateMs), ...list.serials,
  ])
}

interface Held {
  readonly list: RevocationList
  readonly bytes: Buffer
  readonly serials: ReadonlySet<string>
}

/** The newest revocation list of each role. Lists come through the gateway, so nothing in them is believed unsigned. */
export class RevocationLists implements RevocationCheck {
  readonly #trust: Trust
  readonly #clock: Pick<Clock, "now">
  readonly #held = new Map<Role, Held>()
  readonly #listeners = new Set<(role: Role) => void>()

  constructor(options: { trust: Trust; clock: Pick<Clock, "now"> }) {
    this.#trust = options.trust
    this.#clock = options.clock
  }

  /**
   * Takes a list over, and tells the listeners if it is newer than the one held. A stale list is
   * taken too, since what it revokes stays revoked; `assertFresh` goes on refusing.
   * @throws EkeyError ERR_REVOCATION_INVALID if the list is malformed, not signed by the role's
   * root, lower than the one held, another of the same number, or from more than 5 min ahead.
   */
  apply(candidate: RevocationList): void {
    const parsed = RevocationList.safeParse(candidate)
    if (!parsed.success) throw invalid("the revocation list is malformed", parsed.error)
    const list = parsed.data
    const bytes = revocationBytes(list)
    const signature = fromBase64url(list.signature)
    if (!signature || !this.#trust.roots[list.role].some((root) => verifyPss(root.publicKey, bytes, signature))) {
      throw invalid("the revocation list is not signed by its authority")
    }
    const lifeMs = list.nextUpdateMs - list.issuedAtMs
    if (lifeMs <= 0 || lifeMs > REVOCATION_LIFE_MS) throw invalid("the revocation list claims to hold for too long")
    if (list.issuedAtMs > this.#clock.now() + MAX_CLOCK_SKEW_MS) throw invalid("the revocation list is from the future")
    const held = this.#held.get(list.role)
    if (held) {
      if (list.number < held.list.number) throw invalid("the revocation list goes back")
      const isSame = bytes.equals(held.bytes)
      if (list.number === held.list.number && !isSame) throw invalid("there are two revocation lists of one number")
      if (isSame) return
    }
    this.#held.set(list.role, { list, bytes, serials: new Set(list.serials) })
    this.#notify(list.role)
  }

  isRevoked(role: Role, serial: string): boolean {
    return this.#held.get(role)?.serials.has(serial) ?? false
  }

  /** @throws EkeyError ERR_REVOCATION_STALE if there is no list for the role, or it holds no longer. */
  assertFresh(role: Role, nowMs: number): void {
    const held = this.#held.get(role)
    if (!held) throw new EkeyError("ERR_REVOCATION_STALE", "there is no revocation list for the peer's role")
    if (nowMs >= held.list.nextUpdateMs) throw new EkeyError("ERR_REVOCATION_STALE", "the revocation list for the peer's role is too old")
  }

  /** The lists held, to pass on or to keep for the next start. */
  current(): readonly RevocationList[] {
    return [...this.#held.values()].map(({ list }) => list)
  }

  /**
   * Calls `listener` after each newer list, so that links and sessions of revoked peers are ended at
   * once. @returns a function that ends the subscription.
   */
  subscribe(listener: (role: Role) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  #notify(role: Role): void {
    const failures: unknown[] = []
    for (const listener of [...this.#listeners]) {
      try {
        listener(role)
      } catch (error) {
        failures.push(error) // The others must still end their links.
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "a listener to revocations failed")
  }
}

function invalid(message: string, cause?: unknown): EkeyError {
  return new EkeyError("ERR_REVOCATION_INVALID", message, cause === undefined ? {} : { cause })
}
