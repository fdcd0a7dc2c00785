import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { flipBit } from "./bits.ts"
import { findTraces } from "./ekey-traces.ts"

describe("findTraces", () => {
  /** Digits of every kind: with + and / in base64. */
  const secret = Buffer.from("fbeffffbeffffbeffffbeffffbeffffbeffffbeffffbeffffbeffffbefffa0c3", "hex")
  const plants: readonly (readonly [string, (secret: Buffer) => string | Buffer])[] = [
    ["raw", (bytes) => bytes],
    ["hex", (bytes) => bytes.toString("hex")],
    ["HEX", (bytes) => bytes.toString("hex").toUpperCase()],
    ["decimal list", (bytes) => JSON.stringify({ ekey: bytes })],
    ["decimal object", (bytes) => JSON.stringify({ ekey: new Uint8Array(bytes) })],
    ...[0, 1, 2, 3, 4].flatMap((before) => (["base64", "base64url"] as const).map((encoding) => [
      `base64 at ${before % 3}`,
      (bytes: Buffer) => Buffer.concat([randomBytes(before), bytes, randomBytes(7)]).toString(encoding),
    ] as const)),
  ]

  for (const [name, plant] of plants) {
    it(`finds a secret planted as ${name} in noise, and none that differs by a bit`, () => {
      const haystack = (planted: Buffer): Buffer => Buffer.concat([randomBytes(1000), Buffer.from(plant(planted)), randomBytes(1000)])
      assert.deepEqual(findTraces(haystack(secret), secret), [name])
      // The outermost bits share a base64 digit with what is beside them.
      for (let bit = 16; bit < 240; bit += 5) assert.deepEqual(findTraces(haystack(flipBit(secret, bit)), secret), [])
    })
  }

  it("finds nothing where nothing is", () => {
    assert.deepEqual(findTraces(randomBytes(10_000), secret), [])
    assert.deepEqual(findTraces(Buffer.alloc(0), secret), [])
  })
})
