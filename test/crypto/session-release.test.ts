import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import {
  checkRequest, decodeBulkItems, encodeBulkItems, encodeBulkRequest, encodeSingleRequest, openRelease, proveRequest, sealRelease,
} from "../../src/crypto/session-release.ts"
import type { BulkItem, BulkRequest, SingleRequest } from "../../src/crypto/session-release.ts"
import { flipBit } from "../support/bits.ts"

// Vectors of requests and answers, our own, are in test/vectors/releases.json.

const COMMON = { session: Buffer.alloc(16, 1), sequence: 7, tenant: "acme", operation: Buffer.alloc(16, 2), workflow: "backup.scheduled", reason: "" }
const SINGLE: SingleRequest = { ...COMMON, user: "alice@acme.example", version: 3 }
const BULK: BulkRequest = { ...COMMON, users: ["alice@acme.example", "bob@acme.example"] }
const KEY = createSecretKey(Buffer.alloc(32, 5))
const OTHER_KEY = createSecretKey(Buffer.alloc(32, 6))
const TERMS = { version: 3, expiresAtMs: 1_767_225_660_000 }
const EKEY = Buffer.alloc(32, 0xe1)

const changes: readonly (readonly [string, Partial<SingleRequest>])[] = [
  ["session", { session: Buffer.alloc(16, 9) }],
  ["sequence", { sequence: 8 }],
  ["sequence beyond 32 bits", { sequence: 7 + 2 ** 32 }],
  ["tenant", { tenant: "globex" }],
  ["operation", { operation: Buffer.alloc(16, 9) }],
  ["workflow", { workflow: "backup.manual" }],
  ["reason", { reason: "x" }],
  ["user", { user: "alice@acme.exampl" }],
  ["version", { version: 0 }],
]

describe("A request's proof", () => {
  const encoded = encodeSingleRequest(SINGLE)
  const proof = proveRequest(KEY, encoded)

  it("is accepted for exactly its request", () => {
    checkRequest(KEY, encoded, proof)
    checkRequest(KEY, encodeBulkRequest(BULK), proveRequest(KEY, encodeBulkRequest(BULK)))
  })

  for (const [name, change] of changes) {
    it(`is refused for another ${name}`, () => {
      assert.throws(() => { checkRequest(KEY, encodeSingleRequest({ ...SINGLE, ...change }), proof) }, { code: "ERR_SESSION_PROOF" })
    })
  }

  it("is refused for every changed bit of it or of its request", () => {
    for (let bit = 0; bit < 256; bit++) assert.throws(() => { checkRequest(KEY, encoded, flipBit(proof, bit)) }, { code: "ERR_SESSION_PROOF" })
    for (let bit = 0; bit < encoded.length * 8; bit++) assert.throws(() => { checkRequest(KEY, flipBit(encoded, bit), proof) }, { code: "ERR_SESSION_PROOF" })
  })

  it("is refused at every other length, and from another key", () => {
    for (let length = 0; length < 32; length++) assert.throws(() => { checkRequest(KEY, encoded, proof.subarray(0, length)) }, { code: "ERR_SESSION_PROOF" })
    assert.throws(() => { checkRequest(KEY, encoded, Buffer.concat([proof, Buffer.alloc(1)])) }, { code: "ERR_SESSION_PROOF" })
    assert.throws(() => { checkRequest(OTHER_KEY, encoded, proof) }, { code: "ERR_SESSION_PROOF" })
  })

  it("is no bulk request's, even of the same user", () => {
    assert.throws(() => { checkRequest(KEY, encodeBulkRequest({ ...COMMON, users: [SINGLE.user] }), proof) }, { code: "ERR_SESSION_PROOF" })
  })

  it("binds a bulk's users, their order and their number", () => {
    const bulkProof = proveRequest(KEY, encodeBulkRequest(BULK))
    const [alice, bob] = BULK.users
    assert.ok(alice !== undefined && bob !== undefined)
    for (const users of [[bob, alice], [alice], [alice, bob, bob], [alice + bob], [`${alice}b`, bob.slice(1)], []]) {
      assert.throws(() => { checkRequest(KEY, encodeBulkRequest({ ...BULK, users }), bulkProof) }, { code: "ERR_SESSION_PROOF" })
    }
  })
})

describe("A sealed release", () => {
  const encoded = encodeSingleRequest(SINGLE)
  const sealed = sealRelease(KEY, SINGLE.sequence, encoded, TERMS, EKEY)
  const open = (change: { key?: typeof KEY; sequence?: number; encoded?: Buffer; terms?: typeof TERMS; sealed?: Buffer }): Buffer =>
    openRelease(change.key ?? KEY, change.sequence ?? SINGLE.sequence, change.encoded ?? encoded, change.terms ?? TERMS, change.sealed ?? sealed)

  it("opens for its request and terms, and shows nothing of the ekey before", () => {
    assert.deepEqual(open({}), EKEY)
    assert.equal(sealed.length, 48)
    assert.ok(!sealed.includes(EKEY.subarray(0, 8)))
  })

  for (const [name, change] of changes) {
    it(`does not open for another ${name}`, () => {
      assert.throws(() => open({ encoded: encodeSingleRequest({ ...SINGLE, ...change }) }), { code: "ERR_DECRYPT" })
    })
  }

  it("does not open for every changed bit of it or of its context", () => {
    for (let bit = 0; bit < sealed.length * 8; bit++) assert.throws(() => open({ sealed: flipBit(sealed, bit) }), { code: "ERR_DECRYPT" })
    for (let bit = 0; bit < encoded.length * 8; bit++) assert.throws(() => open({ encoded: flipBit(encoded, bit) }), { code: "ERR_DECRYPT" })
  })

  it("does not open under other terms, another sequence or another key", () => {
    assert.throws(() => open({ terms: { ...TERMS, version: 4 } }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ terms: { ...TERMS, expiresAtMs: TERMS.expiresAtMs + 1 } }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ terms: { ...TERMS, expiresAtMs: TERMS.expiresAtMs + 2 ** 32 } }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ sequence: SINGLE.sequence + 1 }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ sequence: SINGLE.sequence + 2 ** 32 }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ key: OTHER_KEY }), { code: "ERR_DECRYPT" })
  })

  it("does not open at any other length", () => {
    for (let length = 0; length < sealed.length; length++) assert.throws(() => open({ sealed: sealed.subarray(0, length) }), { code: "ERR_DECRYPT" })
    assert.throws(() => open({ sealed: Buffer.concat([sealed, Buffer.alloc(1)]) }), { code: "ERR_DECRYPT" })
  })

  it("looks different for each sequence, though the ekey is the same", () => {
    const texts = Array.from({ length: 50 }, (_, index) => sealRelease(KEY, index + 1, encoded, TERMS, EKEY).toString("hex"))
    assert.equal(new Set(texts.map((text) => text.slice(0, 64))).size, texts.length)
  })
})

describe("The items of a bulk", () => {
  const items: BulkItem[] = [{ version: 1, ekey: EKEY }, { version: 0, ekey: null }, { version: 0xffffffff, ekey: Buffer.alloc(32, 2) }]

  it("come back as they were, in their order", () => {
    assert.deepEqual(decodeBulkItems(encodeBulkItems(items), 3), items)
    assert.deepEqual(decodeBulkItems(encodeBulkItems([]), 0), [])
  })

  it("have one size each, released or not, and say nothing of who is not", () => {
    assert.equal(encodeBulkItems(items).length, 3 * 37)
    assert.deepEqual(encodeBulkItems([{ version: 9, ekey: null }]), Buffer.alloc(37))
  })

  it("are refused when there are more or fewer than asked for", () => {
    const encoded = encodeBulkItems(items)
    for (const count of [0, 2, 4]) assert.throws(() => decodeBulkItems(encoded, count), { code: "ERR_DECRYPT" })
    for (let length = 0; length < encoded.length; length++) assert.throws(() => decodeBulkItems(encoded.subarray(0, length), 3), { code: "ERR_DECRYPT" })
  })

  it("are refused with a status that is neither", () => {
    for (let status = 2; status < 256; status++) {
      const encoded = encodeBulkItems(items)
      encoded[37] = status
      assert.throws(() => decodeBulkItems(encoded, 3), { code: "ERR_DECRYPT" })
    }
  })
})
