import { createHmac, timingSafeEqual } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { EkeyError } from "../base/errors.ts"
import { NONCE_BYTES, open, seal } from "./aead.ts"
import { encodeFields, uint32, uint64 } from "./fields.ts"

/** Everything that a request inside a session says. The tenant is the one of both certificates. */
export interface RequestContext {
  readonly session: Uint8Array
  /** Counts up within the session. */
  readonly sequence: number
  readonly tenant: string
  readonly operation: Uint8Array
  readonly workflow: string
  readonly reason: string
}

/** One user's ekey: a version, or 0 for the newest. */
export interface SingleRequest extends RequestContext {
  readonly user: string
  readonly version: number
}

/** The newest ekeys of many users. */
export interface BulkRequest extends RequestContext {
  readonly users: readonly string[]
}

function commonFields(context: RequestContext): (Uint8Array | string)[] {
  return [context.session, uint64(context.sequence), context.tenant, context.operation, context.workflow, context.reason]
}

/** The canonical bytes of a request, under its proof and inside the AAD of its answer. */
export function encodeSingleRequest(request: SingleRequest): Buffer {
  return encodeFields("ekey.v1 request", [...commonFields(request), request.user, uint32(request.version)])
}

export function encodeBulkRequest(request: BulkRequest): Buffer {
  return encodeFields("ekey.v1 bulk request", [...commonFields(request), ...request.users])
}

/** HMAC-SHA-256 (RFC 2104) that shows the holder of the session made this request. */
export function proveRequest(requestKey: KeyObject, encodedRequest: Uint8Array): Buffer {
  return createHmac("sha256", requestKey).update(encodedRequest).digest()
}

/** @throws EkeyError ERR_SESSION_PROOF when the request was not made by the session's holder, or was altered. */
export function checkRequest(requestKey: KeyObject, encodedRequest: Uint8Array, proof: Uint8Array): void {
  const expected = proveRequest(requestKey, encodedRequest)
  if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) {
    throw new EkeyError("ERR_SESSION_PROOF", "the request's proof does not match")
  }
}

/** Fields of an answer that travel in the open but are bound to the seal. */
export interface ReleaseTerms {
  /** The released version; 0 for a bulk answer, which carries each one's inside. */
  readonly version: number
  /** By the custodian's clock, in milliseconds since the Unix epoch. */
  readonly expiresAtMs: number
}

function releaseAad(encodedRequest: Uint8Array, terms: ReleaseTerms): Buffer {
  return encodeFields("ekey.v1 release", [encodedRequest, uint32(terms.version), uint64(terms.expiresAtMs)])
}

/** The request's sequence is the nonce: a sequence is answered at most once under a session's key. */
function releaseNonce(sequence: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  uint64(sequence).copy(nonce, NONCE_BYTES - 8)
  return nonce
}

/** Seals an answer to exactly one request. The caller must never seal twice for one sequence. */
export function sealRelease(releaseKey: KeyObject, sequence: number, encodedRequest: Uint8Array, terms: ReleaseTerms, plaintext: Uint8Array): Buffer {
  return seal(releaseKey, releaseNonce(sequence), releaseAad(encodedRequest, terms), plaintext)
}

/** @throws EkeyError ERR_DECRYPT when it was sealed for anything else than this request and these terms. */
export function openRelease(releaseKey: KeyObject, sequence: number, encodedRequest: Uint8Array, terms: ReleaseTerms, sealed: Uint8Array): Buffer {
  return open(releaseKey, releaseNonce(sequence), releaseAad(encodedRequest, terms), sealed)
}

/** What a bulk answer says for each user, in the order asked. */
export interface BulkItem {
  readonly version: number
  /** 32 bytes, or null for a user whose ekey is not released. */
  readonly ekey: Uint8Array | null
}

const BULK_ITEM_BYTES = 37
const EKEY_BYTES = 32

/** Fixed-size items: status (1 released, 0 not) ‖ version uint32 ‖ ekey. The caller wipes the result. */
export function encodeBulkItems(items: readonly BulkItem[]): Buffer {
  const out = Buffer.alloc(items.length * BULK_ITEM_BYTES)
  items.forEach((item, index) => {
    if (item.ekey === null) return
    const at = index * BULK_ITEM_BYTES
    out[at] = 1
    out.writeUInt32BE(item.version, at + 1)
    out.set(item.ekey, at + 5)
  })
  return out
}

/** @throws EkeyError ERR_DECRYPT when the count or a status does not fit. Items are views of `plaintext`. */
export function decodeBulkItems(plaintext: Buffer, count: number): BulkItem[] {
  if (plaintext.length !== count * BULK_ITEM_BYTES) throw new EkeyError("ERR_DECRYPT", "the bulk answer has another number of items")
  return Array.from({ length: count }, (_, index) => {
    const at = index * BULK_ITEM_BYTES
    const status = plaintext[at]
    if (status === 0) return { version: 0, ekey: null }
    if (status !== 1) throw new EkeyError("ERR_DECRYPT", "the bulk answer has an item of unknown status")
    return { version: plaintext.readUInt32BE(at + 1), ekey: plaintext.subarray(at + 5, at + 5 + EKEY_BYTES) }
  })
}
