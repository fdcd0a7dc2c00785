import type { KeyObject, X509Certificate } from "node:crypto"
import { EkeyError } from "../../base/errors.ts"
import type { ErrorCode } from "../../base/error-codes.ts"
import { isAcceptableRsaKey } from "../../crypto/rsa.ts"
import { MAX_CERTIFICATE_BYTES } from "../../crypto/x509.ts"
import { Serial } from "../messages/certificate.ts"
import type { RevocationCheck } from "./revocation.ts"
import { parseSpiffeId } from "./spiffe.ts"
import type { Identity, Role } from "./spiffe.ts"
import { findSigner } from "./trust.ts"
import type { Trust } from "./trust.ts"

/** A peer whose certificate holds. That it has the private key is for TLS or a signature to show. */
export interface VerifiedPeer {
  readonly identity: Identity
  /** 32 lower-case hexadecimal digits. */
  readonly serial: string
  /** When links and sessions of this peer must end: the earlier end of its certificate and its root. */
  readonly notAfterMs: number
  /** RSA, 2048 to 4096 bits. */
  readonly publicKey: KeyObject
  /** DER. */
  readonly certificate: Uint8Array
}

export interface PeerVerification {
  readonly certificate: X509Certificate | undefined
  /** `tenant` undefined accepts every tenant. */
  readonly expect: { readonly role: Role; readonly tenant?: string }
  readonly trust: Trust
  /**
   * `"later"` leaves revocation out: only for a caller that gets the lists from this very peer, and
   * verifies again with them before it relies on anything else.
   */
  readonly revocations: RevocationCheck | "later"
  readonly nowMs: number
}

/** The extended key usages of RFC 5280, section 4.2.1.12. */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1"

/**
 * Judges a peer's certificate without OpenSSL's verdict, which is wrong on resumed TLS sessions and
 * knows neither roles nor tenants. A chain is the leaf and a pinned root: nothing in between.
 * @throws EkeyError with the reason's own code, ERR_CERT_… or ERR_REVOCATION_STALE.
 */
export function verifyPeer(options: PeerVerification): VerifiedPeer {
  const { certificate, expect, trust, revocations, nowMs } = options
  if (!certificate) throw refused("ERR_CERT_MISSING", "the peer presented no certificate")
  const publicKey = readKey(certificate)
  // Who signed it comes first: nothing else that a stranger wrote into it is looked at.
  const signer = findSigner(trust, certificate)
  if (isSelfSigned(certificate, publicKey)) throw refused("ERR_CERT_SELF_SIGNED", "the certificate is signed by itself")
  if (!signer) throw refused("ERR_CERT_AUTHORITY", "the certificate is not signed by a trusted authority")

  const { identity, serial } = readLeaf(certificate, publicKey)
  if (identity.trustDomain !== trust.trustDomain) throw refused("ERR_CERT_MALFORMED", "the certificate is of another trust domain")
  if (identity.role !== signer.role) throw refused("ERR_CERT_ROLE", "the certificate's authority may not vouch for its role")
  if (identity.role !== expect.role) throw refused("ERR_CERT_ROLE", "the certificate is for another role")
  if (expect.tenant !== undefined && identity.tenant !== expect.tenant) throw refused("ERR_CERT_TENANT", "the certificate is of another tenant")

  for (const link of [certificate, signer.root]) {
    if (!(nowMs >= link.validFromDate.getTime())) throw refused("ERR_CERT_NOT_YET_VALID", "the certificate is not valid yet")
    if (!(nowMs < link.validToDate.getTime())) throw refused("ERR_CERT_EXPIRED", "the certificate has expired")
  }
  if (revocations !== "later") {
    // Revoked comes before stale: what an old list revoked stays revoked.
    if (revocations.isRevoked(identity.role, serial)) throw refused("ERR_CERT_REVOKED", "the certificate was revoked")
    revocations.assertFresh(identity.role, nowMs)
  }
  const notAfterMs = Math.min(certificate.validToDate.getTime(), signer.root.validToDate.getTime())
  return { identity, serial, notAfterMs, publicKey, certificate: certificate.raw }
}

/** The form that every leaf has, whoever signed it; also for reading one's own certificate. */
export function readLeaf(certificate: X509Certificate, publicKey: KeyObject): { identity: Identity; serial: string } {
  if (certificate.ca) throw refused("ERR_CERT_MALFORMED", "the certificate may sign others")
  if (!isAcceptableRsaKey(publicKey)) throw refused("ERR_CERT_MALFORMED", "the certificate's key is not RSA of 2048 to 4096 bits")
  // Node renders all names as one string, in which commas and quotes of a name look like separators:
  // an ID of this protocol has neither, so the whole string is one URI or it is refused.
  const id = /^URI:(spiffe:\/\/[a-z0-9./-]+)$/.exec(certificate.subjectAltName ?? "")?.[1]
  if (id === undefined) throw refused("ERR_CERT_MALFORMED", "the certificate does not carry exactly one SPIFFE ID")
  const identity = parseSpiffeId(id)
  const usages = certificate.keyUsage as readonly string[] | undefined // Undefined without the extension, whatever the types say.
  if (usages?.length !== 1 || usages[0] !== (identity.role === "gateway" ? SERVER_AUTH : CLIENT_AUTH)) {
    throw refused("ERR_CERT_MALFORMED", "the certificate's extended key usage is not its role's")
  }
  // One spelling of a serial, so that a revoked one can't hide behind another.
  const serial = Serial.safeParse(certificate.serialNumber.toLowerCase())
  if (!serial.success) throw refused("ERR_CERT_MALFORMED", "the certificate's serial does not have 128 bits")
  return { identity, serial: serial.data }
}

function readKey(certificate: X509Certificate): KeyObject {
  if (certificate.raw.length > MAX_CERTIFICATE_BYTES) throw refused("ERR_CERT_MALFORMED", "the certificate is too large")
  try {
    return certificate.publicKey
  } catch (cause) {
    throw new EkeyError("ERR_CERT_MALFORMED", "the certificate's key can't be read", { cause })
  }
}

/** Names first: they are free, and only few certificates pass them. */
function isSelfSigned(certificate: X509Certificate, publicKey: KeyObject): boolean {
  try {
    return certificate.issuer === certificate.subject && certificate.verify(publicKey)
  } catch {
    return false // An algorithm that can't be verified: then it is nobody's, and refused as such.
  }
}

function refused(code: ErrorCode, message: string): EkeyError {
  return new EkeyError(code, message)
}
