import { randomBytes } from "node:crypto"
import { bytesOf, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { decapsulate, generateKemKey } from "../crypto/hpke.ts"
import { signPss, verifyPss } from "../crypto/rsa.ts"
import { deriveSessionKeys, encodeOffer, encodeTranscript, SESSION_INFO } from "../crypto/session-keys.ts"
import type { SessionKeys } from "../crypto/session-keys.ts"
import { parseCertificate } from "../crypto/x509.ts"
import type { LocalIdentity } from "../wire/identity/identity-folder.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { verifyPeer } from "../wire/identity/verification.ts"
import type { VerifiedPeer } from "../wire/identity/verification.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"

/** The worker's end of a session with a custodian that it has proved. */
export interface WorkerSession {
  readonly id: string
  readonly idBytes: Uint8Array
  readonly tenant: string
  readonly custodian: VerifiedPeer
  readonly keys: SessionKeys
  readonly expiresAtMs: number
  /** The peer over which it was opened: a session does not outlive its link. */
  readonly peer: WirePeer
  /** The sequence that was used last. */
  lastSequence: number
}

export interface SessionOpenOptions {
  readonly peer: WirePeer
  readonly identity: LocalIdentity
  readonly revocations: RevocationLists
  readonly clock: Clock
  readonly deadlineMs: number
}

/**
 * Opens a session through the gateway and proves the other end: a connector of the worker's own
 * tenant whose signature covers everything that either end said.
 * @throws EkeyError ERR_CUSTODIAN when another kind of custodian answers, ERR_CERT_… for its
 * certificate, ERR_SESSION_PROOF when the handshake was altered.
 */
export async function openSession(options: SessionOpenOptions): Promise<WorkerSession> {
  const { peer, identity, clock, deadlineMs } = options
  const { tenant } = identity.identity
  if (tenant === null) throw new EkeyError("ERR_CERT_TENANT", "this end has no tenant")
  const kem = await generateKemKey()
  const nonce = randomBytes(16)
  const issuedAtMs = clock.now()
  const offer = encodeOffer({ workerCertificate: identity.certificateDer, kemPublicKey: kem.publicKey, nonce, issuedAtMs })
  const signature = await signPss(identity.privateKey, offer)
  const answer = await peer.call("session.open", {
    certificate: toBase64url(identity.certificateDer),
    kemPublicKey: toBase64url(kem.publicKey),
    nonce: toBase64url(nonce),
    issuedAtMs,
    signature: toBase64url(signature),
  }, deadlineMs)

  const certificate = bytesOf(answer.certificate)
  const encapsulatedKey = bytesOf(answer.encapsulatedKey)
  const idBytes = bytesOf(answer.session)
  const custodian = judgeCustodian(certificate, tenant, options)
  const transcript = encodeTranscript(offer, signature, { session: idBytes, certificate, encapsulatedKey, expiresAtMs: answer.expiresAtMs })
  if (!verifyPss(custodian.publicKey, transcript, bytesOf(answer.signature))) {
    throw new EkeyError("ERR_SESSION_PROOF", "the custodian's signature does not match the handshake")
  }
  const keys = await deriveSessionKeys(await decapsulate(kem, encapsulatedKey, SESSION_INFO), transcript)
  const expiresAtMs = Math.min(answer.expiresAtMs, custodian.notAfterMs, identity.notAfterMs)
  return { id: answer.session, idBytes, tenant, custodian, keys, expiresAtMs, peer, lastSequence: 0 }
}

/** In connector custody only a connector of the tenant may answer, whatever the gateway says. */
function judgeCustodian(der: Uint8Array, tenant: string, { identity, revocations, clock }: SessionOpenOptions): VerifiedPeer {
  const certificate = parseCertificate(der)
  try {
    return verifyPeer({ certificate, expect: { role: "connector", tenant }, trust: identity.trust, revocations, nowMs: clock.now() })
  } catch (cause) {
    if (!(cause instanceof EkeyError) || cause.code !== "ERR_CERT_ROLE") throw cause
    throw new EkeyError("ERR_CUSTODIAN", "the custodian that answered is no connector of this tenant, and no connector handed over to it", { cause })
  }
}
