import assert from "node:assert/strict"
import { inspectRecord, RECORD_BYTES, RecordSealer, rootKeyId } from "../../src/crypto/sealed-record.ts"
import type { EkeyId } from "../../src/crypto/sealed-record.ts"

const ROOT = Buffer.alloc(32, 1)
const EKEY = Buffer.from(Array.from({ length: 32 }, (_, i) => i))
const ID: EkeyId = { user: "user-1@acme.example", version: 1 }
const CREATED_AT_MS = 1_760_000_000_000
const sealer = new RecordSealer({ rootKey: ROOT, tenant: "acme" })
const record = sealer.seal(ID, EKEY, CREATED_AT_MS)

const REFUSED = { code: "ERR_DECRYPT", message: "decryption failed" }

describe("sealed record", () => {
  it("opens to the ekey that was sealed, in a buffer of the caller's own", () => {
    const opened = sealer.open(ID, record)
    assert.deepEqual(opened, EKEY)
    opened.fill(0)
    assert.deepEqual(sealer.open(ID, record), EKEY)
    assert.deepEqual(new RecordSealer({ rootKey: ROOT, tenant: "acme" }).open(ID, record), EKEY)
  })

  it("has 93 bytes in the documented layout", () => {
    assert.equal(RECORD_BYTES, 93)
    assert.equal(record.length, 93)
    assert.equal(record[0], 1)
    assert.deepEqual(record.subarray(1, 9), rootKeyId(ROOT))
    assert.equal(record.readBigUInt64BE(9), BigInt(CREATED_AT_MS))
    assert.deepEqual(record.subarray(17, 33), sealer.fingerprint(ID, EKEY))
  })

  it("is different every time, by a nonce of its own", () => {
    const again = sealer.seal(ID, EKEY, CREATED_AT_MS)
    assert.deepEqual(again.subarray(0, 33), record.subarray(0, 33))
    assert.notDeepEqual(again.subarray(33, 45), record.subarray(33, 45))
    assert.notDeepEqual(again.subarray(45), record.subarray(45))
  })

  it("still opens as it was written by version 1 (our own vector: guards against change only)", () => {
    const written = Buffer.from("01c6cf4fe92959f27d00000199c82cc00075ee2b79724a5d704a388c130b22d16d5e76de68188117e04b1f5be9c2866a74ae04e15fe39a0fb4f723173f3879579149555293d6602a697d81e0ba96610e2b47a0c4ab65a3849fc74b83e4", "hex")
    assert.deepEqual(sealer.open(ID, written), EKEY)
    assert.deepEqual(sealer.seal(ID, EKEY, CREATED_AT_MS).subarray(0, 33), written.subarray(0, 33))
  })

  it("is refused after every single-bit change", () => {
    for (let bit = 0; bit < record.length * 8; bit++) {
      const changed = Buffer.from(record)
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      assert.throws(() => sealer.open(ID, changed), REFUSED, `bit ${bit}`)
    }
  })

  it("is refused when truncated to any length, or with bytes behind it", () => {
    for (let length = 0; length < record.length; length++) {
      assert.throws(() => sealer.open(ID, record.subarray(0, length)), REFUSED, `${length} bytes`)
      assert.throws(() => inspectRecord(record.subarray(0, length)), REFUSED, `${length} bytes`)
    }
    assert.throws(() => sealer.open(ID, Buffer.concat([record, Buffer.of(0)])), REFUSED)
    assert.throws(() => inspectRecord(Buffer.concat([record, Buffer.of(0)])), REFUSED)
  })

  const OTHERS: readonly (readonly [string, RecordSealer, EkeyId])[] = [
    ["another user", sealer, { user: "user-2@acme.example", version: 1 }],
    ["a user whose name goes on", sealer, { user: "user-1@acme.example2", version: 1 }],
    ["another version", sealer, { user: ID.user, version: 2 }],
    ["another tenant", new RecordSealer({ rootKey: ROOT, tenant: "acme2" }), ID],
    ["another root key", new RecordSealer({ rootKey: Buffer.alloc(32, 2), tenant: "acme" }), ID],
  ]
  for (const [whose, other, id] of OTHERS) {
    it(`does not open as that of ${whose}, in either direction`, () => {
      assert.throws(() => other.open(id, record), REFUSED)
      const theirs = other.seal(id, EKEY, CREATED_AT_MS)
      assert.throws(() => sealer.open(ID, theirs), REFUSED)
      // Nor with this one's header before it.
      assert.throws(() => sealer.open(ID, Buffer.concat([record.subarray(0, 33), theirs.subarray(33)])), REFUSED)
      assert.deepEqual(other.open(id, theirs), EKEY)
    })
  }

  it("takes ekeys of 32 bytes and root keys of 32 bytes only", () => {
    for (const bytes of [0, 16, 31, 33, 64]) {
      assert.throws(() => sealer.seal(ID, Buffer.alloc(bytes), 0), { code: "ERR_PARAMS" })
      assert.throws(() => new RecordSealer({ rootKey: Buffer.alloc(bytes), tenant: "acme" }), { code: "ERR_ROOT_KEY" })
    }
  })

  it("depends no more on the root key's buffer once the sealer is made", () => {
    const root = Buffer.from(ROOT)
    const lent = new RecordSealer({ rootKey: root, tenant: "acme" })
    root.fill(0)
    assert.deepEqual(lent.open(ID, record), EKEY)
  })

  it("leaves the ekey that it seals as it was", () => {
    const ekey = Buffer.from(EKEY)
    sealer.seal(ID, ekey, 0)
    assert.deepEqual(ekey, EKEY)
  })
})

describe("record inspection", () => {
  it("reads the header without a key", () => {
    assert.deepEqual(inspectRecord(record), {
      rootKeyId: rootKeyId(ROOT), createdAtMs: CREATED_AT_MS, fingerprint: sealer.fingerprint(ID, EKEY),
    })
  })

  it("refuses another format and a time that is no safe integer", () => {
    for (const [at, value] of [[0, 0], [0, 2], [9, 0xff]] as const) {
      const changed = Buffer.from(record)
      changed[at] = value
      assert.throws(() => inspectRecord(changed), REFUSED)
    }
  })
})

describe("fingerprint", () => {
  it("has 16 bytes, and is the same each time", () => {
    assert.equal(sealer.fingerprint(ID, EKEY).length, 16)
    assert.deepEqual(sealer.fingerprint(ID, EKEY), sealer.fingerprint({ ...ID }, Buffer.from(EKEY)))
  })

  it("is another for another ekey, user, version, tenant and root key", () => {
    const prints = [
      sealer.fingerprint(ID, EKEY),
      sealer.fingerprint(ID, Buffer.alloc(32)),
      sealer.fingerprint({ user: "user-2", version: 1 }, EKEY),
      sealer.fingerprint({ user: ID.user, version: 2 }, EKEY),
      new RecordSealer({ rootKey: ROOT, tenant: "acme2" }).fingerprint(ID, EKEY),
      new RecordSealer({ rootKey: Buffer.alloc(32, 2), tenant: "acme" }).fingerprint(ID, EKEY),
    ]
    assert.equal(new Set(prints.map((print) => print.toString("hex"))).size, prints.length)
  })
})

describe("root key id", () => {
  it("has 8 bytes, none of the key's own, and is another for another key", () => {
    assert.equal(rootKeyId(ROOT).length, 8)
    assert.deepEqual(sealer.rootKeyId, rootKeyId(ROOT))
    assert.notDeepEqual(rootKeyId(ROOT), rootKeyId(Buffer.alloc(32, 2)))
    assert.equal(ROOT.includes(rootKeyId(ROOT)), false)
  })
})
