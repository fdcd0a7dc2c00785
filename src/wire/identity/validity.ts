import { EkeyError } from "../../base/errors.ts"
import type { RevocationCheck } from "./revocation.ts"
import type { VerifiedPeer } from "./verification.ts"

/**
 * Judges again what time can change about a peer that was verified before: its dates and its
 * revocation. For links and sessions, which outlive the upgrade.
 * @throws EkeyError ERR_CERT_EXPIRED, ERR_CERT_REVOKED or ERR_REVOCATION_STALE.
 */
export function assertStillValid(peer: VerifiedPeer, revocations: RevocationCheck, nowMs: number): void {
  if (nowMs >= peer.notAfterMs) throw new EkeyError("ERR_CERT_EXPIRED", "the certificate has expired")
  if (revocations.isRevoked(peer.identity.role, peer.serial)) throw new EkeyError("ERR_CERT_REVOKED", "the certificate was revoked")
  revocations.assertFresh(peer.identity.role, nowMs)
}
