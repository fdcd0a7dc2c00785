import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import { NONCE_BYTES, TAG_BYTES, open, seal } from "../../src/crypto/aead.ts"

interface Vector {
  readonly name: string
  readonly key: string
  readonly nonce: string
  readonly aad: string
  readonly plaintext: string
  readonly ciphertext: string
  readonly tag: string
}

const KEY = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
const ZEROES = "00".repeat(32)

/**
 * The AES-256 cases with a 96-bit nonce of "The Galois/Counter Mode of Operation (GCM)", McGrew and
 * Viega, appendix B: the submission to NIST that SP 800-38D specifies.
 */
const VECTORS: readonly Vector[] = [
  {
    name: "test case 13", key: ZEROES, nonce: "000000000000000000000000", aad: "", plaintext: "", ciphertext: "",
    tag: "530f8afbc74536b9a963b4f1c4cb738b",
  },
  {
    name: "test case 14", key: ZEROES, nonce: "000000000000000000000000", aad: "",
    plaintext: "00000000000000000000000000000000",
    ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
    tag: "d0d1c8a799996bf0265b98b5d48ab919",
  },
  {
    name: "test case 15", key: KEY, nonce: "cafebabefacedbaddecaf888", aad: "",
    plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
    ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
    tag: "b094dac5d93471bdec1a502270e3cc6c",
  },
  {
    name: "test case 16", key: KEY, nonce: "cafebabefacedbaddecaf888", aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      + "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    tag: "76fc6ece0f4e1768cddf8853bb2d551b",
  },
]

describe("AES-256-GCM, McGrew and Viega appendix B", () => {
  for (const vector of VECTORS) {
    it(`seals and opens ${vector.name}`, () => {
      const { key, nonce, aad } = inputs(vector)
      assert.equal(seal(createSecretKey(key), nonce, aad, hex(vector.plaintext)).toString("hex"), vector.ciphertext + vector.tag)
      assert.equal(open(createSecretKey(key), nonce, aad, hex(vector.ciphertext + vector.tag)).toString("hex"), vector.plaintext)
    })
  }
})

describe("an altered sealed value", () => {
  const [, , , vector] = VECTORS
  assert.ok(vector)
  const { key, nonce, aad } = inputs(vector)
  const sealed = hex(vector.ciphertext + vector.tag)

  const parts = { "the sealed value": sealed, "the nonce": nonce, "the context": aad, "the key": key }
  for (const [name, part] of Object.entries(parts)) {
    it(`is refused for every single bit of ${name}`, () => {
      for (let bit = 0; bit < part.length * 8; bit++) {
        const altered = flipBit(part, bit)
        const swap = (original: Buffer): Buffer => original === part ? altered : original
        assertRefused(swap(key), swap(nonce), swap(aad), swap(sealed))
      }
    })
  }

  for (const truncated of VECTORS) {
    it(`is refused when truncated at every length: ${truncated.name}`, () => {
      const { key, nonce, aad } = inputs(truncated)
      const whole = hex(truncated.ciphertext + truncated.tag)
      for (let length = 0; length < whole.length; length++) assertRefused(key, nonce, aad, whole.subarray(0, length))
    })
  }

  it("is refused with a byte more, at either end", () => {
    assertRefused(key, nonce, aad, Buffer.concat([sealed, Buffer.of(0)]))
    assertRefused(key, nonce, aad, Buffer.concat([Buffer.of(0), sealed]))
  })

  it("is refused with a nonce, a key or a context of another length", () => {
    for (const length of [0, 1, NONCE_BYTES - 1, NONCE_BYTES + 1, 16]) assertRefused(key, Buffer.alloc(length), aad, sealed)
    for (const length of [1, 16, 24, 31, 33]) assertRefused(Buffer.alloc(length), nonce, aad, sealed)
    assertRefused(key, nonce, aad.subarray(1), sealed)
    assertRefused(key, nonce, Buffer.alloc(0), sealed)
  })

  it("is refused when ciphertext and tag change places", () => {
    const tagFirst = Buffer.concat([sealed.subarray(-TAG_BYTES), sealed.subarray(0, -TAG_BYTES)])
    assertRefused(key, nonce, aad, tagFirst)
  })
})

describe("what is opened", () => {
  it("is the caller's own buffer", () => {
    const key = createSecretKey(Buffer.alloc(32, 1))
    const nonce = Buffer.alloc(NONCE_BYTES, 2)
    const sealed = seal(key, nonce, Buffer.of(), Buffer.from("ekey"))
    open(key, nonce, Buffer.of(), sealed).fill(0)
    assert.equal(open(key, nonce, Buffer.of(), sealed).toString(), "ekey")
  })
})

/** One answer for every cause: the same code and the same words. */
function assertRefused(key: Buffer, nonce: Buffer, aad: Buffer, sealed: Buffer): void {
  assert.throws(() => open(createSecretKey(key), nonce, aad, sealed), { code: "ERR_DECRYPT", message: "decryption failed" })
}

function inputs(vector: Vector): { key: Buffer; nonce: Buffer; aad: Buffer } {
  return { key: hex(vector.key), nonce: hex(vector.nonce), aad: hex(vector.aad) }
}

function flipBit(bytes: Buffer, bit: number): Buffer {
  const flipped = Buffer.from(bytes)
  const at = bit >> 3
  flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (bit & 7)), at)
  return flipped
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex")
}
