import { z } from "zod"
import { Role } from "../identity/spiffe.ts"
import { base64url, DeadlineMs, Id128, TimestampMs } from "./scalars.ts"

/** DER of one certificate. */
export const CertificateDer = base64url({ maxBytes: 4096 }).meta({ description: "base64url of a certificate in DER, at most 4096 bytes" })
export type CertificateDer = z.infer<typeof CertificateDer>

/** DER of a PKCS#10 request that asks for exactly one URI as subject alternative name. */
export const Csr = base64url({ maxBytes: 4096 }).meta({ description: "base64url of a PKCS#10 certificate request in DER, at most 4096 bytes" })
export type Csr = z.infer<typeof Csr>

/** RSASSA-PSS, SHA-256, salt 32, by a key of 2048 to 4096 bits. */
const Signature = base64url({ maxBytes: 512 })

/** Every authority's serials have 128 bits, so there is one spelling of each. */
export const Serial = z.string().regex(/^[0-9a-f]{32}$/, "must be 32 lower-case hexadecimal digits")
export type Serial = z.infer<typeof Serial>

/** How many serials a list may carry, so that the lists of all three roles fit into one frame. */
export const MAX_REVOKED_SERIALS = 9_000

/**
 * Serials of a role's revoked certificates that have not expired, signed by the role's root over
 * `revocationBytes`. A higher number replaces a lower one.
 */
export const RevocationList = z.strictObject({
  role: Role,
  number: z.int().min(1),
  issuedAtMs: TimestampMs,
  nextUpdateMs: TimestampMs,
  serials: z.array(Serial).max(MAX_REVOKED_SERIALS)
    .refine((serials) => serials.every((serial, index) => index === 0 || (serials[index - 1] ?? "") < serial), "must be in strictly ascending order"),
  signature: Signature,
})
export type RevocationList = z.infer<typeof RevocationList>

/** Asks the role's authority for a first certificate, with a one-time token that stays secret. */
export const CertificateEnrolParams = z.strictObject({
  role: Role,
  tokenId: Id128,
  csr: Csr,
  proof: base64url({ bytes: 32 }).meta({ description: "base64url of HMAC-SHA-256 by the token's secret, 32 bytes" }),
  deadlineMs: DeadlineMs,
})
export type CertificateEnrolParams = z.infer<typeof CertificateEnrolParams>

const Roots = z.array(CertificateDer).min(1).max(4)

/** The answer to both requests. The roots come through the gateway: only their pins make them believed. */
export const CertificateEnrolResult = z.strictObject({
  certificate: CertificateDer,
  roots: z.strictObject({ gateway: Roots, connector: Roots, worker: Roots }),
})
export type CertificateEnrolResult = z.infer<typeof CertificateEnrolResult>

/** Asks the role's authority for the next certificate, signed by the key of the current one. */
export const CertificateRenewParams = z.strictObject({
  role: Role,
  certificate: CertificateDer,
  csr: Csr,
  issuedAtMs: TimestampMs,
  signature: Signature,
  deadlineMs: DeadlineMs,
})
export type CertificateRenewParams = z.infer<typeof CertificateRenewParams>

export const CertificateRenewResult = CertificateEnrolResult
export type CertificateRenewResult = CertificateEnrolResult

/** Asks an authority for its signed list. */
export const RevocationCurrentParams = z.strictObject({ deadlineMs: DeadlineMs })
export type RevocationCurrentParams = z.infer<typeof RevocationCurrentParams>

export const RevocationCurrentResult = z.strictObject({ list: RevocationList })
export type RevocationCurrentResult = z.infer<typeof RevocationCurrentResult>
