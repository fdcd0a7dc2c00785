import assert from "node:assert/strict"
import { AEAD_EXPORT_ONLY, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke"
import { decapsulate, encapsulate, generateKemKey } from "../../src/crypto/hpke.ts"
import type { KemKey } from "../../src/crypto/hpke.ts"
import { flipBit } from "../support/bits.ts"

const hex = (text: string): Buffer => Buffer.from(text, "hex")

/** RFC 9180, appendix A.7.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, export-only, base mode. */
const A_7_1 = {
  info: hex("4f6465206f6e2061204772656369616e2055726e"),
  ikmR: hex("683ae0da1d22181e74ed2e503ebf82840deb1d5e872cade20f4b458d99783e31"),
  pkRm: hex("194141ca6c3c3beb4792cd97ba0ea1faff09d98435012345766ee33aae2d7664"),
  enc: hex("e5e8f9bfff6c2f29791fc351d2c25ce1299aa5eaca78a757c0b4fb4bcd830918"),
  exports: [
    { context: hex(""), value: hex("7a36221bd56d50fb51ee65edfd98d06a23c4dc87085aa5866cb7087244bd2a36") },
    { context: hex("00"), value: hex("d5535b87099c6c3ce80dc112a2671c6ec8e811a2f284f948cec6dd1708ee33f0") },
    { context: hex("54657374436f6e74657874"), value: hex("ffaabc85a776136ca0c378e5d084c9140ab552b78f039d2e8775f26efff4c70e") },
  ],
}

const INFO = Buffer.from("info")
const CONTEXT = Buffer.from("context")

async function publishedKey(): Promise<KemKey> {
  const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_EXPORT_ONLY)
  const keyPair = await suite.DeriveKeyPair(A_7_1.ikmR)
  return { publicKey: await suite.SerializePublicKey(keyPair.publicKey), keyPair }
}

describe("HPKE secret export, RFC 9180 appendix A.7.1", () => {
  it("has the published key", async () => {
    assert.deepEqual(Buffer.from((await publishedKey()).publicKey), A_7_1.pkRm)
  })

  it("exports the published values", async () => {
    const exporter = await decapsulate(await publishedKey(), A_7_1.enc, A_7_1.info)
    for (const { context, value } of A_7_1.exports) assert.deepEqual(Buffer.from(await exporter(context, 32)), value)
  })

  it("exports others for every changed bit of the encapsulated key, also for the one that X25519 ignores", async () => {
    const key = await publishedKey()
    const published = A_7_1.exports[0] ?? assert.fail()
    for (let bit = 0; bit < 256; bit++) {
      const exporter = await decapsulate(key, flipBit(A_7_1.enc, bit), A_7_1.info)
      // RFC 7748, section 5: the top bit is masked. RFC 9180 hashes the encapsulated key as it came, so even that shows.
      assert.notDeepEqual(Buffer.from(await exporter(published.context, 32)), published.value, `bit ${bit}`)
    }
  })

  it("exports others for another info", async () => {
    const key = await publishedKey()
    for (const info of [flipBit(A_7_1.info, 0), A_7_1.info.subarray(1), Buffer.alloc(0)]) {
      const exporter = await decapsulate(key, A_7_1.enc, info)
      for (const { context, value } of A_7_1.exports) assert.notDeepEqual(Buffer.from(await exporter(context, 32)), value)
    }
  })
})

describe("HPKE between two ends", () => {
  it("gives both the same secret, whose sender the published vectors check through the receiver", async () => {
    const key = await generateKemKey()
    const { encapsulatedKey, exporter } = await encapsulate(key.publicKey, INFO)
    const other = await decapsulate(key, encapsulatedKey, INFO)
    assert.equal(encapsulatedKey.length, 32)
    for (const length of [16, 32, 64]) assert.deepEqual(await exporter(CONTEXT, length), await other(CONTEXT, length))
  })

  it("gives other secrets for another key, context, length or encapsulation", async () => {
    const [key, stranger] = [await generateKemKey(), await generateKemKey()]
    const { encapsulatedKey, exporter } = await encapsulate(key.publicKey, INFO)
    const secret = Buffer.from(await exporter(CONTEXT, 32))
    const others = [
      await exporter(flipBit(CONTEXT, 0), 32),
      (await exporter(CONTEXT, 64)).subarray(0, 32),
      await (await decapsulate(stranger, encapsulatedKey, INFO))(CONTEXT, 32),
      await (await encapsulate(key.publicKey, INFO)).exporter(CONTEXT, 32),
    ]
    for (const other of others) assert.notDeepEqual(Buffer.from(other), secret)
  })

  it("makes a fresh key each time, whose private half can't be exported", async () => {
    const [first, second] = [await generateKemKey(), await generateKemKey()]
    assert.equal(first.publicKey.length, 32)
    assert.notDeepEqual(first.publicKey, second.publicKey)
    assert.equal(first.keyPair.privateKey.extractable, false)
  })

  // RFC 7748, section 6.1, and RFC 9180, section 7.1.4: small-order points must be refused.
  const LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ].map(hex)

  it("refuses keys that are none, of another length or of small order, at either end", async () => {
    const key = await generateKemKey()
    const { encapsulatedKey } = await encapsulate(key.publicKey, INFO)
    for (const bad of [...LOW_ORDER, Buffer.alloc(0), key.publicKey.subarray(1), Buffer.concat([key.publicKey, Buffer.alloc(1)])]) {
      await assert.rejects(encapsulate(bad, INFO), { code: "ERR_SESSION_PROOF" })
    }
    for (const bad of [...LOW_ORDER, Buffer.alloc(0), encapsulatedKey.subarray(1), Buffer.concat([encapsulatedKey, Buffer.alloc(1)])]) {
      await assert.rejects(decapsulate(key, bad, INFO), { code: "ERR_SESSION_PROOF" })
    }
  })
})
