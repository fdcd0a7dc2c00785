import assert from "node:assert/strict"
import { encodeFields, uint32, uint64 } from "../../src/crypto/fields.ts"

describe("encodeFields", () => {
  it("puts the label and each field behind its length, byte for byte", () => {
    const encoded = encodeFields("ekey", ["ab", Uint8Array.of(0, 255), ""])
    assert.equal(encoded.toString("hex"), ["00000004", "656b6579", "00000002", "6162", "00000002", "00ff", "00000000"].join(""))
  })

  it("counts bytes, not characters", () => {
    assert.equal(encodeFields("é", ["€🔑"]).toString("hex"), "00000002c3a900000007e282acf09f9491")
  })

  it("takes text and its UTF-8 bytes for the same field", () => {
    assert.deepEqual(encodeFields("l", ["€"]), encodeFields("l", [Buffer.from("€")]))
  })

  it("takes a view for its own bytes, and not for the buffer behind it", () => {
    assert.deepEqual(encodeFields("l", [Uint8Array.of(1, 2, 3, 4).subarray(1, 3)]), encodeFields("l", [Uint8Array.of(2, 3)]))
  })

  it("is the label alone without fields", () => {
    assert.equal(encodeFields("l", []).toString("hex"), "000000016c")
  })

  it("differs whenever label, fields or their borders differ", () => {
    const inputs: readonly (readonly [string, readonly string[]])[] = [
      ["l", ["ab", "c"]], ["l", ["a", "bc"]], ["l", ["abc"]], ["l", ["abc", ""]], ["l", ["", "abc"]],
      ["l", ["c", "ab"]], ["la", ["b", "c"]], ["m", ["ab", "c"]], ["", ["l", "ab", "c"]], ["l", []], ["l", [""]], ["l", ["", ""]],
    ]
    const encodings = new Set(inputs.map(([label, fields]) => encodeFields(label, fields).toString("hex")))
    assert.equal(encodings.size, inputs.length)
  })

  it("is not taken in by a field that looks like an encoding", () => {
    const inner = encodeFields("l", ["a"]).subarray(5)
    assert.notDeepEqual(encodeFields("l", [inner]), encodeFields("l", ["a"]))
  })

  it("leaves its fields as they are", () => {
    const field = Uint8Array.of(1, 2)
    encodeFields("l", [field]).fill(9)
    assert.deepEqual([...field], [1, 2])
  })
})

describe("uint32", () => {
  it("is four bytes, the highest first", () => {
    assert.deepEqual([0, 1, 0x01020304, 2 ** 32 - 1].map((value) => uint32(value).toString("hex")), ["00000000", "00000001", "01020304", "ffffffff"])
  })

  it("refuses what does not fit", () => {
    for (const value of [-1, 2 ** 32, Number.POSITIVE_INFINITY]) assert.throws(() => uint32(value), RangeError)
  })
})

describe("uint64", () => {
  it("is eight bytes, the highest first, up to the largest safe integer", () => {
    for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, Date.UTC(2026, 0, 1), Number.MAX_SAFE_INTEGER]) {
      const expected = Buffer.alloc(8)
      expected.writeBigUInt64BE(BigInt(value))
      assert.deepEqual(uint64(value), expected)
    }
  })

  it("refuses what is negative or does not fit", () => {
    for (const value of [-1, 2 ** 64]) assert.throws(() => uint64(value), RangeError)
  })
})
