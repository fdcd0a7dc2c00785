import type { Clock } from "../../base/clock.ts"
import { codeOf } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import type { RevocationLists } from "../identity/revocation.ts"
import { assertStillValid } from "../identity/validity.ts"
import type { VerifiedPeer } from "../identity/verification.ts"
import { CLOSE_CODES } from "../limits.ts"
import type { LinkPeer } from "./link.ts"

/** Polled, since a suspended host misses a long timer. */
const CHECK_EVERY_MS = 30_000

export interface IdentityWatchOptions {
  readonly peer: LinkPeer
  /** The other end, as it was judged when the link was made. */
  readonly verified: VerifiedPeer
  readonly revocations: RevocationLists
  readonly clock: Clock
  readonly log: Logger
}

/** Ends a link when the other end's certificate ends or is revoked, or when revocation is no longer known. */
export function watchIdentity(options: IdentityWatchOptions): void {
  const { peer, verified, revocations, clock, log } = options
  let cancel = (): void => undefined
  const check = (): void => {
    cancel()
    try {
      assertStillValid(verified, revocations, clock.now())
    } catch (error) {
      log.warn("link ended", { code: codeOf(error), peerRole: verified.identity.role, peerName: verified.identity.name })
      peer.close(CLOSE_CODES.identity, codeOf(error) ?? "ERR_INTERNAL")
      return
    }
    const leftMs = verified.notAfterMs - clock.now()
    cancel = clock.after(Math.max(1, Math.min(CHECK_EVERY_MS, leftMs)), check)
  }
  const unsubscribe = revocations.subscribe(check)
  check()
  void peer.closed.then(() => {
    cancel()
    unsubscribe()
  })
}
