import assert from "node:assert/strict"
import { base64url, DeadlineMs, EkeyVersion, Id128, Name, TenantId, TimestampMs, UserId } from "../../../src/wire/messages/scalars.ts"
import type { z } from "zod"

const long = (length: number): string => "a".repeat(length)

/** For each scalar what it takes, with the bounds, and what it refuses. */
const TABLE: readonly { name: string; schema: z.ZodType; takes: readonly unknown[]; refuses: readonly unknown[] }[] = [
  ...[["a name", Name], ["a tenant", TenantId]].map(([name, schema]) => ({
    name: name as string, schema: schema as z.ZodType,
    takes: ["a", "0", "hq-1", "constructor", long(63), "a--b"],
    refuses: ["", "-a", "a-", "A", "a.b", "a/b", "..", "a b", "a_b", "ä", "a\n", "\na", "a\0", long(64), "__proto__", 1, null, ["a"], {}],
  })),
  {
    name: "a user", schema: UserId,
    takes: ["u", "user-1@acme.example", "!", "~", "../../etc/passwd", "a".repeat(256), "__proto__", "constructor", "-rf", "{user}", "%2e"],
    refuses: ["", " ", "a b", "a\tb", "a\n", "a\0", "\x7f", "ü", "\u{1f600}", "a".repeat(257), 1, null, ["a"]],
  },
  {
    name: "a time", schema: TimestampMs, takes: [0, 1, 8_640_000_000_000_000],
    refuses: [-1, 0.5, 8_640_000_000_000_001, Number.NaN, Infinity, "1", null, 1n, new Date(0)],
  },
  { name: "a deadline", schema: DeadlineMs, takes: [1, 60_000], refuses: [0, -1, 1.5, 60_001, 1e308, Infinity, Number.NaN, "1", null, true] },
  { name: "a version", schema: EkeyVersion, takes: [1, 0xffffffff], refuses: [0, -1, 1.5, 0x100000000, "1", null, false] },
  {
    name: "a random id", schema: Id128, takes: ["AAAAAAAAAAAAAAAAAAAAAA", "_____________________w", "-_-_-_-_-_-_-_-_-_-_-w"],
    refuses: ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAA+AAAAAAAAAA", "AAAAAAAAAAA/AAAAAAAAAA", "AAAAAAAAAA AAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA\nA", 1, null],
  },
]

describe("Scalars of the wire", () => {
  for (const { name, schema, takes, refuses } of TABLE) {
    for (const value of takes) {
      it(`take ${JSON.stringify(value).slice(0, 40)} for ${name}`, () => { assert.deepEqual(schema.parse(value), value) })
    }
    for (const [index, value] of refuses.entries()) {
      it(`refuse ${typeof value === "bigint" ? "a bigint" : JSON.stringify(value).slice(0, 40)} for ${name} (${String(index)})`, () => { assert.equal(schema.safeParse(value).success, false) })
    }
  }

  describe("base64url", () => {
    it("of a range of lengths is what encodes so many bytes, in one spelling", () => {
      const schema = base64url({ maxBytes: 5 })
      for (let length = 1; length <= 5; length++) assert.ok(schema.safeParse(Buffer.alloc(length, 0xfb).toString("base64url")).success)
      for (const text of ["", Buffer.alloc(6).toString("base64url"), "A", "AB", "+/", "AA==", "A A", "AA\n"]) {
        assert.equal(schema.safeParse(text).success, false, text)
      }
    })

    it("is refused before it is decoded when it is too long", () => {
      assert.equal(base64url({ bytes: 16 }).safeParse("A".repeat(1_000_000)).success, false)
    })
  })
})
