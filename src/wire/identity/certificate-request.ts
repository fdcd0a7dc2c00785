import type { KeyObject } from "node:crypto"
import { fromBase64url, toBase64url } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import { encodeFields, uint64 } from "../../crypto/fields.ts"
import { generateRsaKey, signPss } from "../../crypto/rsa.ts"
import { createCsr, parseCertificate } from "../../crypto/x509.ts"
import type { CertificateEnrolParams, CertificateEnrolResult, CertificateRenewParams, CertificateRenewResult } from "../messages/certificate.ts"
import { toLocalIdentity } from "./identity-folder.ts"
import type { LocalIdentity } from "./identity-folder.ts"
import { formatSpiffeId, isSameIdentity } from "./spiffe.ts"
import type { Identity } from "./spiffe.ts"
import { proof } from "./token.ts"
import type { EnrolmentToken } from "./token.ts"
import { createTrust } from "./trust.ts"
import type { Trust } from "./trust.ts"
import { verifyPeer } from "./verification.ts"

const DEADLINE_MS = 30_000

export interface RequestOptions {
  /**
   * The key to certify, from `IdentityFolder.pendingKey`: only with the same key can a request be
   * repeated after its answer was lost. Default: a new one.
   */
  readonly privateKey?: KeyObject
  /** Default: 30 s. */
  readonly deadlineMs?: number
}

export interface PreparedRequest<P> {
  /** Never leaves this process and its identity folder. */
  readonly privateKey: KeyObject
  readonly params: P
}

/** A `certificate.enrol` request, which shows that this end holds the token without sending its secret. */
export async function prepareEnrolment(token: EnrolmentToken, options: RequestOptions = {}): Promise<PreparedRequest<CertificateEnrolParams>> {
  const { identity } = token
  const privateKey = options.privateKey ?? await generateRsaKey()
  const csr = await createCsr({ privateKey, commonName: identity.name, uri: formatSpiffeId(identity) })
  return {
    privateKey,
    params: {
      role: identity.role,
      tokenId: token.id,
      csr: toBase64url(csr),
      proof: toBase64url(proof(token.secret, csr, identity.tenant, identity.name)),
      deadlineMs: options.deadlineMs ?? DEADLINE_MS,
    },
  }
}

/**
 * Judges the answer to `prepareEnrolment`. It came through the gateway, so only what the token pins
 * is believed: its three roots, and a certificate for our key and exactly the token's identity.
 * @throws EkeyError ERR_ENROLMENT, with the reason as its cause.
 */
export function acceptEnrolment(token: EnrolmentToken, privateKey: KeyObject, result: CertificateEnrolResult, nowMs: number): LocalIdentity {
  return translate(() => {
    const { trustDomain } = token.identity
    const roots = {
      gateway: result.roots.gateway.map(decode),
      connector: result.roots.connector.map(decode),
      worker: result.roots.worker.map(decode),
    }
    const trust = createTrust({ trustDomain, roots, pins: token.pins })
    return accept(token.identity, privateKey, decode(result.certificate), trust, nowMs)
  })
}

/** The bytes that the current key signs to renew its certificate: label `ekey.v1 renewal`. */
export function renewalBytes(csr: Uint8Array, certificate: Uint8Array, issuedAtMs: number): Buffer {
  return encodeFields("ekey.v1 renewal", [csr, certificate, uint64(issuedAtMs)])
}

/** A `certificate.renew` request: a new key for the same identity, signed by the current key. */
export async function prepareRenewal(
  current: LocalIdentity, options: RequestOptions & { readonly nowMs: number },
): Promise<PreparedRequest<CertificateRenewParams>> {
  const { identity, certificateDer } = current
  const privateKey = options.privateKey ?? await generateRsaKey()
  const csr = await createCsr({ privateKey, commonName: identity.name, uri: formatSpiffeId(identity) })
  const signature = await signPss(current.privateKey, renewalBytes(csr, certificateDer, options.nowMs))
  return {
    privateKey,
    params: {
      role: identity.role,
      certificate: toBase64url(certificateDer),
      csr: toBase64url(csr),
      issuedAtMs: options.nowMs,
      signature: toBase64url(signature),
      deadlineMs: options.deadlineMs ?? DEADLINE_MS,
    },
  }
}

/**
 * Judges the answer to `prepareRenewal`. The trust stays as it is: roots that came along are not
 * even looked at, since no renewal may bring a new one.
 * @throws EkeyError ERR_ENROLMENT, with the reason as its cause.
 */
export function acceptRenewal(current: LocalIdentity, privateKey: KeyObject, result: CertificateRenewResult, nowMs: number): LocalIdentity {
  return translate(() => accept(current.identity, privateKey, decode(result.certificate), current.trust, nowMs))
}

function accept(expected: Identity, privateKey: KeyObject, certificateDer: Uint8Array, trust: Trust, nowMs: number): LocalIdentity {
  const { role, tenant } = expected
  const certificate = parseCertificate(certificateDer)
  // Whether it is revoked can't be known yet, and matters to others: we only learn who we are.
  const peer = verifyPeer({ certificate, expect: tenant === null ? { role } : { role, tenant }, trust, revocations: "later", nowMs })
  if (!isSameIdentity(peer.identity, expected)) throw new EkeyError("ERR_ENROLMENT", "the certificate is for another name")
  return toLocalIdentity(privateKey, certificateDer, trust) // Which refuses a certificate for another key.
}

function translate<T>(judge: () => T): T {
  try {
    return judge()
  } catch (cause) {
    throw new EkeyError("ERR_ENROLMENT", "the authority's answer does not fit the request or the pins", { cause })
  }
}

function decode(text: string): Uint8Array {
  const bytes = fromBase64url(text)
  if (!bytes) throw new EkeyError("ERR_ENROLMENT", "the answer is not base64url")
  return bytes
}
