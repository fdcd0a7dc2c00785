import assert from "node:assert/strict"
import { asBuffer, decodeUtf8, fromBase64url, toBase64url } from "../../src/base/bytes.ts"

/** RFC 4648, section 10, without the padding that base64url in this product never has. */
const RFC_4648_VECTORS: readonly (readonly [string, string])[] = [
  ["", ""], ["f", "Zg"], ["fo", "Zm8"], ["foo", "Zm9v"], ["foob", "Zm9vYg"], ["fooba", "Zm9vYmE"], ["foobar", "Zm9vYmFy"],
]

const NOT_CANONICAL: readonly (readonly [string, string])[] = [
  ["padding", "Zg=="],
  ["unused bits that are set", "Zh"],
  ["unused bits that are set, in three characters", "Zm9"],
  ["a single character", "Z"],
  ["five characters", "Zm9vZ"],
  ["the plus of plain base64", "+_-_"],
  ["the slash of plain base64", "-/-_"],
  ["a space", "Zm 9v"],
  ["a line end", "Zm9v\n"],
  ["a NUL", "Zm9v\0"],
  ["a character beyond ASCII", "Zm9ſ"],
]

const NOT_UTF_8: readonly (readonly [string, readonly number[]])[] = [
  ["a lone continuation byte", [0x80]],
  ["a sequence cut short", [0x61, 0xe2, 0x82]],
  ["an overlong encoding", [0xc0, 0xaf]],
  ["a surrogate", [0xed, 0xa0, 0x80]],
  ["a code point above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
  ["a byte that never occurs", [0xff]],
]

/** A view into the middle of a larger buffer, where an offset that is forgotten shows. */
function viewOf(bytes: readonly number[]): Uint8Array {
  return Uint8Array.of(0xaa, 0xbb, ...bytes, 0xcc).subarray(2, 2 + bytes.length)
}

describe("base64url", () => {
  for (const [text, encoded] of RFC_4648_VECTORS) {
    it(`encodes and decodes "${text}" as RFC 4648 does`, () => {
      assert.equal(toBase64url(Buffer.from(text)), encoded)
      assert.deepEqual(fromBase64url(encoded), Buffer.from(text))
    })
  }

  it("uses the alphabet for URLs", () => {
    assert.equal(toBase64url(Uint8Array.of(0xfb, 0xff, 0xbf)), "-_-_")
    assert.deepEqual(fromBase64url("-_-_"), Buffer.of(0xfb, 0xff, 0xbf))
  })

  it("encodes a view, and not the buffer behind it", () => {
    assert.equal(toBase64url(viewOf([0x66, 0x6f])), "Zm8")
  })

  for (const [name, text] of NOT_CANONICAL) {
    it(`refuses ${name}`, () => {
      assert.equal(fromBase64url(text), null)
    })
  }
})

describe("decodeUtf8", () => {
  it("decodes text of one to four bytes a character, and keeps a byte order mark", () => {
    const text = "\u{FEFF}a\u{E9}\u{20AC}\u{1F511}"
    assert.equal(decodeUtf8(Buffer.from(text)), text)
  })

  for (const [name, bytes] of NOT_UTF_8) {
    it(`refuses ${name}`, () => {
      assert.throws(() => decodeUtf8(Uint8Array.from(bytes)), { code: "ERR_PARAMS" })
    })
  }
})

describe("asBuffer", () => {
  it("shares the memory of a view, within its bounds", () => {
    const view = viewOf([1, 2, 3])
    const buffer = asBuffer(view)
    assert.deepEqual([...buffer], [1, 2, 3])
    view[0] = 9
    assert.equal(buffer[0], 9)
  })

  it("gives back a Buffer as it is", () => {
    const buffer = Buffer.of(1)
    assert.equal(asBuffer(buffer), buffer)
  })
})
