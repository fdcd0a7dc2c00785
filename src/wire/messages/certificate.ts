import { z } from "zod"
import { Role } from "../identity/spiffe.ts"
import { base64url, DeadlineMs, Id128, TimestampMs } from "./scalars.ts"

/** DER of one certificate. */
export const CertificateDer = base64url({ maxBytes: 4096 }).describe("one X.509 certificate, DER")
export type CertificateDer = z.infer<typeof CertificateDer>

/** DER of a PKCS#10 request that asks for exactly one URI as subject alternative name. */
export const Csr = base64url({ maxBytes: 4096 }).describe("a PKCS#10 certificate request, DER")
export type Csr = z.infer<typeof Csr>

/** RSASSA-PSS, SHA-256, salt 32, by a key of 2048 to 4096 bits. */
const Signature = base64url({ maxBytes: 512 }).describe("RSASSA-PSS signature")

/** Every authority's serials have 128 bits, so there is one spelling of each. */
export const Serial = z.string().regex(/^[0-9a-f]{32}$/, "must be 32 lower-case hexadecimal digits").describe("a certificate's serial number: 32 lower-case hexadecimal digits")
export type Serial = z.infer<typeof Serial>

/** How many serials a list may carry, so that the lists of all three roles fit into one frame. */
export const MAX_REVOKED_SERIALS = 9_000

/**
 * Serials of a role's revoked certificates that have not expired, signed by the role's root over
 * `revocationBytes`. A higher number replaces a lower one.
 */
export const RevocationList = z.strictObject({
  role: Role.describe("whose certificates the list is about"),
  number: z.int().min(1).describe("a higher number replaces a lower one"),
  issuedAtMs: TimestampMs.describe("the authority's clock when it signed"),
  nextUpdateMs: TimestampMs.describe("the list is stale from then on; at most 24 h after issuedAtMs"),
  serials: z.array(Serial).max(MAX_REVOKED_SERIALS)
    .refine((serials) => serials.every((serial, index) => index === 0 || (serials[index - 1] ?? "") < serial), "must be in strictly ascending order")
    .describe("revoked certificates that have not expired, in strictly ascending order"),
  signature: Signature.describe("by the role's root over the list's signed bytes"),
})
export type RevocationList = z.infer<typeof RevocationList>

/** Asks the role's authority for a first certificate, with a one-time token that stays secret. */
export const CertificateEnrolParams = z.strictObject({
  role: Role.describe("the role's authority is asked; must be the token's"),
  tokenId: Id128.describe("the token's id"),
  csr: Csr,
  proof: base64url({ bytes: 32 }).describe("HMAC-SHA-256 by the token's secret"),
  deadlineMs: DeadlineMs,
})
export type CertificateEnrolParams = z.infer<typeof CertificateEnrolParams>

const Roots = z.array(CertificateDer).min(1).max(4)

/** The answer to both requests. The roots come through the gateway: only their pins make them believed. */
export const CertificateEnrolResult = z.strictObject({
  certificate: CertificateDer.describe("the new certificate, DER"),
  roots: z.strictObject({
    gateway: Roots.describe("DER of the gateway authority's roots"),
    connector: Roots.describe("DER of the connector authority's roots"),
    worker: Roots.describe("DER of the worker authority's roots"),
  }).describe("believed only as far as they are pinned; ignored in the answer to a renewal"),
})
export type CertificateEnrolResult = z.infer<typeof CertificateEnrolResult>

/** Asks the role's authority for the next certificate, signed by the key of the current one. */
export const CertificateRenewParams = z.strictObject({
  role: Role.describe("the role's authority is asked; must be the certificate's"),
  certificate: CertificateDer.describe("the current certificate, DER"),
  csr: Csr.describe("a PKCS#10 certificate request for a new key and the same SPIFFE ID, DER"),
  issuedAtMs: TimestampMs.describe("the sender's clock; refused when more than 5 minutes off"),
  signature: Signature.describe("by the current certificate's key over the renewal's signed bytes"),
  deadlineMs: DeadlineMs,
})
export type CertificateRenewParams = z.infer<typeof CertificateRenewParams>

export const CertificateRenewResult = CertificateEnrolResult
export type CertificateRenewResult = CertificateEnrolResult

/** Asks an authority for its signed list. */
export const RevocationCurrentParams = z.strictObject({ deadlineMs: DeadlineMs })
export type RevocationCurrentParams = z.infer<typeof RevocationCurrentParams>

export const RevocationCurrentResult = z.strictObject({ list: RevocationList.describe("the authority's own list") })
export type RevocationCurrentResult = z.infer<typeof RevocationCurrentResult>
