import { z } from "zod"
import { CertificateDer } from "./certificate.ts"
import { base64url, DeadlineMs, Id128, TimestampMs } from "./scalars.ts"

/** An RSASSA-PSS signature by a key of up to 4096 bits. */
export const Signature = base64url({ maxBytes: 512 }).describe("RSASSA-PSS signature")

/** A worker asks a custodian of its tenant for a session; `signature` is over the offer (docs/protocol.md). */
export const SessionOpenParams = z.strictObject({
  certificate: CertificateDer.describe("the worker's certificate, DER"),
  kemPublicKey: base64url({ bytes: 32 }).describe("fresh X25519 public key, made for this session alone"),
  nonce: Id128.describe("random"),
  issuedAtMs: TimestampMs.describe("the worker's clock; refused when more than 5 minutes off"),
  signature: Signature.describe("by the worker's key over the session offer"),
  deadlineMs: DeadlineMs,
})
export type SessionOpenParams = z.infer<typeof SessionOpenParams>

export const SessionOpenResult = z.strictObject({
  session: Id128.describe("the session's id, chosen by the custodian"),
  certificate: CertificateDer.describe("the custodian's certificate, DER"),
  encapsulatedKey: base64url({ bytes: 32 }).describe("HPKE enc"),
  expiresAtMs: TimestampMs.describe("the session's end by the custodian's clock"),
  signature: Signature.describe("by the custodian's key over the session transcript"),
})
export type SessionOpenResult = z.infer<typeof SessionOpenResult>
