import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import { deriveBytes, deriveKey, hkdfSha256 } from "../../src/crypto/derive.ts"

const hex = (text: string): Buffer => Buffer.from(text, "hex")
const ROOT = Buffer.alloc(32, 7)

describe("HKDF-SHA-256, RFC 5869 appendix A", () => {
  const CASES = [
    {
      name: "A.1, basic",
      ikm: "0b".repeat(22), salt: "000102030405060708090a0b0c", info: "f0f1f2f3f4f5f6f7f8f9",
      okm: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    },
    {
      name: "A.2, longer inputs and outputs",
      ikm: Buffer.from(Array.from({ length: 80 }, (_, i) => i)).toString("hex"),
      salt: Buffer.from(Array.from({ length: 80 }, (_, i) => 0x60 + i)).toString("hex"),
      info: Buffer.from(Array.from({ length: 80 }, (_, i) => 0xb0 + i)).toString("hex"),
      okm: "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    },
    {
      name: "A.3, no salt and no info",
      ikm: "0b".repeat(22), salt: "", info: "",
      okm: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    },
  ]
  for (const { name, ikm, salt, info, okm } of CASES) {
    it(name, () => {
      assert.equal(hkdfSha256(hex(ikm), hex(salt), hex(info), okm.length / 2).toString("hex"), okm)
    })
  }
})

describe("derived keys", () => {
  it("are the same from bytes and from a KeyObject", () => {
    assert.ok(deriveKey(ROOT, "label", ["a"]).equals(deriveKey(createSecretKey(ROOT), "label", ["a"])))
  })

  it("have 256 bits", () => {
    assert.equal(deriveKey(ROOT, "label", []).symmetricKeySize, 32)
  })

  it("are different for another root, label, field, and division into fields", () => {
    const keys = [
      deriveBytes(ROOT, "label", ["ab", "c"], 32),
      deriveBytes(Buffer.alloc(32, 8), "label", ["ab", "c"], 32),
      deriveBytes(ROOT, "lable", ["ab", "c"], 32),
      deriveBytes(ROOT, "label", ["ab", "d"], 32),
      deriveBytes(ROOT, "label", ["a", "bc"], 32),
      deriveBytes(ROOT, "label", ["abc"], 32),
      deriveBytes(ROOT, "labelab", ["c"], 32),
    ]
    assert.equal(new Set(keys.map((key) => key.toString("hex"))).size, keys.length)
  })

  it("leave the root as it was", () => {
    const root = Buffer.from(ROOT)
    deriveKey(root, "label", [])
    assert.deepEqual(root, ROOT)
  })
})
