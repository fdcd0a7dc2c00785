import assert from "node:assert/strict"
import { createHash, createPrivateKey, createPublicKey, createSecretKey, webcrypto } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { readFile } from "node:fs/promises"
import { z } from "zod"
import { fromBase64url, toBase64url } from "../../src/base/bytes.ts"
import { open } from "../../src/crypto/aead.ts"
import { encodeFields, uint32, uint64 } from "../../src/crypto/fields.ts"
import { decapsulate } from "../../src/crypto/hpke.ts"
import type { KemKey } from "../../src/crypto/hpke.ts"
import { spkiPin } from "../../src/crypto/rsa.ts"
import { inspectRecord, RecordSealer } from "../../src/crypto/sealed-record.ts"
import { deriveSessionKeys, encodeOffer, encodeTranscript, SESSION_INFO } from "../../src/crypto/session-keys.ts"
import { checkRequest, decodeBulkItems, encodeBulkRequest, encodeSingleRequest, openRelease, proveRequest } from "../../src/crypto/session-release.ts"
import { renewalBytes } from "../../src/wire/identity/certificate-request.ts"
import { revocationBytes } from "../../src/wire/identity/revocation.ts"
import { formatSpiffeId, parseSpiffeId, Role } from "../../src/wire/identity/spiffe.ts"
import { formatToken, parseToken, proof } from "../../src/wire/identity/token.ts"

// The vectors are our own: they guard against change, and are for other implementations to compare with.

const Hex = z.string().regex(/^(?:[0-9a-f]{2})*$/).transform((text) => Buffer.from(text, "hex"))

async function load<T>(name: string, vectors: z.ZodType<T>): Promise<T> {
  const text = await readFile(new URL(`../vectors/${name}.json`, import.meta.url), "utf8")
  return vectors.parse(JSON.parse(text))
}

function secret(bytes: Uint8Array): KeyObject {
  return createSecretKey(bytes)
}

describe("vectors of encodings (our own: guard against change only)", () => {
  const Field = z.union([
    z.strictObject({ text: z.string() }).transform(({ text }) => text),
    z.strictObject({ bytes: Hex }).transform(({ bytes }) => bytes),
    z.strictObject({ uint32: z.int() }).transform((field) => uint32(field.uint32)),
    z.strictObject({ uint64: z.int() }).transform((field) => uint64(field.uint64)),
  ])

  it("encode canonical fields", async () => {
    const { vectors } = await load("fields", z.object({ vectors: z.array(z.strictObject({ label: z.string(), fields: z.array(Field), encoded: Hex })).min(5) }))
    for (const { label, fields, encoded } of vectors) assert.deepEqual(encodeFields(label, fields), encoded)
    assert.equal(new Set(vectors.map(({ encoded }) => encoded.toString("hex"))).size, vectors.length)
  })

  it("take canonical base64url, and nothing else", async () => {
    const { accepted, rejected } = await load("base64url", z.object({
      accepted: z.array(z.strictObject({ text: z.string(), bytes: Hex })).min(5),
      rejected: z.array(z.strictObject({ text: z.string(), why: z.string() })).min(5),
    }))
    for (const { text, bytes } of accepted) {
      assert.deepEqual(fromBase64url(text), bytes)
      assert.equal(toBase64url(bytes), text)
    }
    for (const { text, why } of rejected) assert.equal(fromBase64url(text), null, why)
  })

  it("take SPIFFE IDs in their one spelling, and nothing else", async () => {
    const { accepted, rejected } = await load("spiffe-ids", z.object({
      accepted: z.array(z.strictObject({ id: z.string(), trustDomain: z.string(), role: Role, tenant: z.string().nullable(), name: z.string() })).min(3),
      rejected: z.array(z.strictObject({ id: z.string(), why: z.string() })).min(5),
    }))
    for (const { id, ...identity } of accepted) {
      assert.deepEqual(parseSpiffeId(id), identity)
      assert.equal(formatSpiffeId(identity), id)
    }
    for (const { id, why } of rejected) assert.throws(() => parseSpiffeId(id), { code: "ERR_CERT_MALFORMED" }, why)
  })
})

describe("vectors of certificates (our own: guard against change only)", () => {
  const Pins = z.strictObject({ gateway: z.string(), connector: z.string(), worker: z.string() })
  const Requests = z.object({
    pins: z.array(z.object({ spki: Hex, pin: z.string() })).length(3),
    tokens: z.array(z.strictObject({
      text: z.string(), id: z.string(), secret: Hex, trustDomain: z.string(), role: Role, tenant: z.string(), name: z.string(), expiresAtMs: z.int(), pins: Pins,
    })).min(1),
    enrolments: z.array(z.strictObject({ secret: Hex, csr: Hex, tenant: z.string().nullable(), name: z.string(), proof: Hex })).min(2),
    renewals: z.array(z.strictObject({ csr: Hex, certificate: Hex, issuedAtMs: z.int(), signedBytes: Hex })).min(1),
  })

  it("pin the keys of authorities", async () => {
    for (const { spki, pin } of (await load("certificate-requests", Requests)).pins) {
      assert.equal(spkiPin(createPublicKey({ key: spki, format: "der", type: "spki" })), pin)
    }
  })

  it("read enrolment tokens", async () => {
    for (const { text, id, secret: secretBytes, expiresAtMs, pins, ...identity } of (await load("certificate-requests", Requests)).tokens) {
      const { secret: parsedSecret, ...parsed } = parseToken(text)
      assert.deepEqual(parsed, { id, identity, expiresAtMs, pins })
      assert.deepEqual(parsedSecret.export(), secretBytes)
      assert.equal(formatToken({ ...parsed, secret: parsedSecret }), text)
    }
  })

  it("prove enrolments", async () => {
    for (const { secret: secretBytes, csr, tenant, name, proof: expected } of (await load("certificate-requests", Requests)).enrolments) {
      assert.deepEqual(proof(secret(secretBytes), csr, tenant, name), expected)
    }
  })

  it("have the bytes that a renewal signs", async () => {
    for (const { csr, certificate, issuedAtMs, signedBytes } of (await load("certificate-requests", Requests)).renewals) {
      assert.deepEqual(renewalBytes(csr, certificate, issuedAtMs), signedBytes)
    }
  })

  it("have the bytes that a revocation list signs", async () => {
    const { vectors } = await load("revocation-lists", z.object({
      vectors: z.array(z.strictObject({ role: Role, number: z.int(), issuedAtMs: z.int(), nextUpdateMs: z.int(), serials: z.array(z.string()), signedBytes: Hex })).min(2),
    }))
    for (const { signedBytes, ...list } of vectors) assert.deepEqual(revocationBytes(list), signedBytes)
  })
})

describe("vectors of a session (our own: guard against change only)", () => {
  const Session = z.object({
    info: Hex,
    worker: z.strictObject({ certificate: Hex, kemPrivateKey: Hex, kemPublicKey: Hex, nonce: Hex, issuedAtMs: z.int(), offer: Hex, signature: Hex }),
    custodian: z.strictObject({ ephemeralPrivateKey: Hex, session: Hex, certificate: Hex, encapsulatedKey: Hex, expiresAtMs: z.int() }),
    transcript: Hex, exporterContext: Hex, exported: Hex, requestKey: Hex, releaseKey: Hex,
  })

  it("encode offer and transcript", async () => {
    const { worker, custodian, transcript, exporterContext } = await load("session", Session)
    assert.deepEqual(encodeOffer({ ...worker, workerCertificate: worker.certificate }), worker.offer)
    assert.deepEqual(encodeTranscript(worker.offer, worker.signature, custodian), transcript)
    assert.deepEqual(createHash("sha256").update(transcript).digest(), exporterContext)
  })

  it("derive both keys from the worker's private key and the encapsulated key", async () => {
    const { info, worker, custodian, transcript, exporterContext, exported, requestKey, releaseKey } = await load("session", Session)
    assert.deepEqual(SESSION_INFO, info)
    const exporter = await decapsulate(await importKemKey(worker.kemPrivateKey, worker.kemPublicKey), custodian.encapsulatedKey, info)
    assert.deepEqual(Buffer.from(await exporter(exporterContext, 64)), exported)
    const keys = await deriveSessionKeys(exporter, transcript)
    assert.deepEqual([keys.requestKey.export(), keys.releaseKey.export()], [requestKey, releaseKey])
    assert.deepEqual(Buffer.concat([requestKey, releaseKey]), exported)
  })

  it("have an encapsulated key that is the ephemeral key's public half", async () => {
    const { custodian } = await load("session", Session)
    assert.deepEqual(publicHalf(custodian.ephemeralPrivateKey), custodian.encapsulatedKey)
  })
})

describe("vectors of releases (our own: guard against change only)", () => {
  const request = { session: Hex, sequence: z.int(), tenant: z.string(), operation: Hex, workflow: z.string(), reason: z.string() }
  const Answer = z.strictObject({ version: z.int(), expiresAtMs: z.int(), nonce: Hex, aad: Hex, sealed: Hex })
  const Releases = z.object({
    requestKey: Hex,
    releaseKey: Hex,
    singles: z.array(z.strictObject({ request: z.strictObject({ ...request, user: z.string(), version: z.int() }), encoded: Hex, proof: Hex, answer: Answer, ekey: Hex })).min(3),
    bulks: z.array(z.strictObject({
      request: z.strictObject({ ...request, users: z.array(z.string()) }), encoded: Hex, proof: Hex, answer: Answer, plaintext: Hex,
      items: z.array(z.strictObject({ version: z.int(), ekey: Hex.nullable() })),
    })).min(1),
  })

  it("encode and prove requests", async () => {
    const { requestKey, singles, bulks } = await load("releases", Releases)
    for (const single of singles) assert.deepEqual(encodeSingleRequest(single.request), single.encoded)
    for (const bulk of bulks) assert.deepEqual(encodeBulkRequest(bulk.request), bulk.encoded)
    for (const { encoded, proof: expected } of [...singles, ...bulks]) {
      assert.deepEqual(proveRequest(secret(requestKey), encoded), expected)
      checkRequest(secret(requestKey), encoded, expected)
    }
  })

  it("open answers, by their nonce and context too", async () => {
    const { releaseKey, singles, bulks } = await load("releases", Releases)
    const answers = [...singles.map((single) => ({ ...single, plaintext: single.ekey })), ...bulks]
    for (const { request: { sequence }, encoded, answer, plaintext } of answers) {
      assert.deepEqual(openRelease(secret(releaseKey), sequence, encoded, answer, answer.sealed), plaintext)
      assert.deepEqual(open(secret(releaseKey), answer.nonce, answer.aad, answer.sealed), plaintext)
    }
  })

  it("read bulk answers", async () => {
    for (const { request: { users }, plaintext, items } of (await load("releases", Releases)).bulks) {
      assert.deepEqual(decodeBulkItems(plaintext, users.length), items)
    }
  })
})

describe("vectors of sealed records (our own: guard against change only)", () => {
  it("open, and are named, as version 1 wrote them", async () => {
    const { tenant, rootKey, rootKeyId, sealingKey, vectors } = await load("sealed-record", z.object({
      tenant: z.string(), rootKey: Hex, rootKeyId: Hex, sealingKey: Hex,
      vectors: z.array(z.strictObject({ user: z.string(), version: z.int(), createdAtMs: z.int(), ekey: Hex, fingerprint: Hex, nonce: Hex, aad: Hex, record: Hex })).min(2),
    }))
    const sealer = new RecordSealer({ rootKey, tenant })
    for (const { user, version, createdAtMs, ekey, fingerprint, nonce, aad, record } of vectors) {
      assert.deepEqual(sealer.open({ user, version }, record), ekey)
      assert.deepEqual(inspectRecord(record), { rootKeyId, createdAtMs, fingerprint })
      assert.deepEqual(sealer.fingerprint({ user, version }, ekey), fingerprint)
      assert.deepEqual(record.subarray(33, 45), nonce)
      assert.deepEqual(open(secret(sealingKey), nonce, aad, record.subarray(45)), ekey)
    }
  })
})

/** PKCS#8 of an X25519 private key (RFC 8410, section 7), up to the key itself. */
const X25519_PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex")

function publicHalf(privateKey: Uint8Array): Buffer {
  const key = createPrivateKey({ key: Buffer.concat([X25519_PKCS8, privateKey]), format: "der", type: "pkcs8" })
  return createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-32)
}

async function importKemKey(privateKey: Uint8Array, publicKey: Uint8Array): Promise<KemKey> {
  assert.deepEqual(publicHalf(privateKey), Buffer.from(publicKey))
  const { subtle } = webcrypto
  return {
    publicKey,
    keyPair: {
      privateKey: await subtle.importKey("pkcs8", Buffer.concat([X25519_PKCS8, privateKey]), "X25519", false, ["deriveBits"]),
      publicKey: await subtle.importKey("raw", Buffer.from(publicKey), "X25519", true, []),
    },
  }
}
