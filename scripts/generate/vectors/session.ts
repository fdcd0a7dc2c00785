import { createHash } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { CipherSuite, AEAD_EXPORT_ONLY, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke"
import { encodeFields, uint32, uint64 } from "../../../src/crypto/fields.ts"
import { decapsulate } from "../../../src/crypto/hpke.ts"
import { deriveSessionKeys, encodeOffer, encodeTranscript, SESSION_INFO } from "../../../src/crypto/session-keys.ts"
import type { SessionKeys } from "../../../src/crypto/session-keys.ts"
import { encodeBulkItems, encodeBulkRequest, encodeSingleRequest, proveRequest, sealRelease } from "../../../src/crypto/session-release.ts"
import type { ReleaseTerms } from "../../../src/crypto/session-release.ts"
import { hex, testBytes, vectorFile } from "./vector-file.ts"

const NOW_MS = 1_767_225_600_000
const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_EXPORT_ONLY)
const SESSION_ID = testBytes("session", 16)

/** The handshake of one session, and the keys that both ends get from it. */
export async function sessionVectors(): Promise<{ session: string; releases: string }> {
  const worker = await suite.DeriveKeyPair(testBytes("worker kem key", 32), true)
  const ephemeral = await suite.DeriveKeyPair(testBytes("connector ephemeral key", 32), true)
  const offered = {
    workerCertificate: testBytes("worker certificate", 64),
    kemPublicKey: await suite.SerializePublicKey(worker.publicKey),
    nonce: testBytes("nonce", 16),
    issuedAtMs: NOW_MS,
  }
  const answered = {
    session: SESSION_ID,
    certificate: testBytes("connector certificate", 64),
    encapsulatedKey: await suite.SerializePublicKey(ephemeral.publicKey),
    expiresAtMs: NOW_MS + 60 * 60_000,
  }
  const offer = encodeOffer(offered)
  const workerSignature = testBytes("worker signature", 64)
  const transcript = encodeTranscript(offer, workerSignature, answered)
  const exporter = await decapsulate({ publicKey: offered.kemPublicKey, keyPair: worker }, answered.encapsulatedKey, SESSION_INFO)
  const context = createHash("sha256").update(transcript).digest()
  const exported = Buffer.from(await exporter(context, 64))
  const keys = await deriveSessionKeys(exporter, transcript)
  const session = vectorFile("section 8", {
    note: "Certificates and signatures are any bytes here: the encodings don't look into them, and a PSS signature is different each time.",
    info: hex(SESSION_INFO),
    worker: { certificate: hex(offered.workerCertificate), kemPrivateKey: hex(await suite.SerializePrivateKey(worker.privateKey)), kemPublicKey: hex(offered.kemPublicKey), nonce: hex(offered.nonce), issuedAtMs: offered.issuedAtMs, offer: hex(offer), signature: hex(workerSignature) },
    custodian: { ephemeralPrivateKey: hex(await suite.SerializePrivateKey(ephemeral.privateKey)), session: hex(SESSION_ID), certificate: hex(answered.certificate), encapsulatedKey: hex(answered.encapsulatedKey), expiresAtMs: answered.expiresAtMs },
    transcript: hex(transcript),
    exporterContext: hex(context),
    exported: hex(exported),
    requestKey: hex(keys.requestKey.export()),
    releaseKey: hex(keys.releaseKey.export()),
  })
  return { session, releases: releaseVectors(keys) }
}

/** Requests inside that session, and their sealed answers. */
function releaseVectors(keys: SessionKeys): string {
  const context = { session: SESSION_ID, tenant: "acme", operation: testBytes("operation", 16), workflow: "backup.scheduled" }
  const common = { session: hex(SESSION_ID), tenant: context.tenant, operation: hex(context.operation), workflow: context.workflow }
  const singles = [
    { sequence: 1, reason: "job documents", user: "user-1@acme.example", version: 0, released: 3 },
    { sequence: 2, reason: "", user: "user-1@acme.example", version: 2, released: 2 },
    { sequence: 4_294_967_296, reason: "Prüfung €", user: "u", version: 0, released: 1 },
  ].map(({ released, ...request }) => {
    const encoded = encodeSingleRequest({ ...context, ...request })
    const ekey = testBytes(`ekey ${String(request.sequence)}`, 32)
    const terms = { version: released, expiresAtMs: NOW_MS + 60_000 }
    return { request: { ...common, ...request }, ...proved(keys, encoded), answer: answerTo(keys.releaseKey, request.sequence, encoded, terms, ekey), ekey: hex(ekey) }
  })
  const users = ["user-1@acme.example", "nobody@acme.example", "user-2@acme.example"]
  const items = [{ version: 1, ekey: testBytes("bulk 1", 32) }, { version: 0, ekey: null }, { version: 7, ekey: testBytes("bulk 3", 32) }]
  const request = { sequence: 3, reason: "", users }
  const encoded = encodeBulkRequest({ ...context, ...request })
  const plaintext = encodeBulkItems(items)
  const terms = { version: 0, expiresAtMs: NOW_MS + 60_000 }
  return vectorFile("sections 9 and 10", {
    requestKey: hex(keys.requestKey.export()),
    releaseKey: hex(keys.releaseKey.export()),
    singles,
    bulks: [{
      request: { ...common, ...request }, ...proved(keys, encoded), answer: answerTo(keys.releaseKey, request.sequence, encoded, terms, plaintext),
      plaintext: hex(plaintext), items: items.map(({ version, ekey }) => ({ version, ekey: ekey === null ? null : hex(ekey) })),
    }],
  })
}

function proved(keys: SessionKeys, encoded: Buffer): { encoded: string; proof: string } {
  return { encoded: hex(encoded), proof: hex(proveRequest(keys.requestKey, encoded)) }
}

function answerTo(releaseKey: KeyObject, sequence: number, encoded: Buffer, terms: ReleaseTerms, plaintext: Buffer): Record<string, string | number> {
  return {
    ...terms,
    nonce: hex(Buffer.concat([Buffer.alloc(4), uint64(sequence)])),
    aad: hex(encodeFields("ekey.v1 release", [encoded, uint32(terms.version), uint64(terms.expiresAtMs)])),
    sealed: hex(sealRelease(releaseKey, sequence, encoded, terms, plaintext)),
  }
}
