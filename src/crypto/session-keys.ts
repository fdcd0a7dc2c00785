import { createHash, createSecretKey } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { encodeFields, uint64 } from "./fields.ts"
import type { Exporter } from "./hpke.ts"

/** HPKE `info` of every session. */
export const SESSION_INFO = Buffer.from("ekey.v1 session")

/** What the worker offers. All of it is under its signature. */
export interface SessionOffer {
  readonly workerCertificate: Uint8Array
  readonly kemPublicKey: Uint8Array
  readonly nonce: Uint8Array
  readonly issuedAtMs: number
}

/** The bytes that the worker signs (RSASSA-PSS, SHA-256, salt of 32 bytes). */
export function encodeOffer(offer: SessionOffer): Buffer {
  return encodeFields("ekey.v1 session offer", [offer.workerCertificate, offer.kemPublicKey, offer.nonce, uint64(offer.issuedAtMs)])
}

/** What the custodian answers. */
export interface SessionAnswer {
  readonly session: Uint8Array
  readonly certificate: Uint8Array
  readonly encapsulatedKey: Uint8Array
  readonly expiresAtMs: number
}

/**
 * The whole transcript: the offer, the worker's signature over it, and the answer. The custodian
 * signs it, and the session's keys are bound to it, so ends that saw different bytes share no key.
 */
export function encodeTranscript(offer: Uint8Array, workerSignature: Uint8Array, answer: SessionAnswer): Buffer {
  return encodeFields("ekey.v1 session transcript", [
    offer, workerSignature, answer.session, answer.certificate, answer.encapsulatedKey, uint64(answer.expiresAtMs),
  ])
}

/** Made once for a session; the exported bytes are overwritten. */
export interface SessionKeys {
  /** HMAC-SHA-256 over the worker's requests. */
  readonly requestKey: KeyObject
  /** AES-256-GCM of the custodian's releases. */
  readonly releaseKey: KeyObject
}

export async function deriveSessionKeys(exporter: Exporter, transcript: Uint8Array): Promise<SessionKeys> {
  const context = createHash("sha256").update(transcript).digest()
  const exported = await exporter(context, 64)
  try {
    return { requestKey: createSecretKey(exported.subarray(0, 32)), releaseKey: createSecretKey(exported.subarray(32)) }
  } finally {
    exported.fill(0)
  }
}
