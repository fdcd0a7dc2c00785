import assert from "node:assert/strict"
import { createHmac, createSecretKey } from "node:crypto"
import { inspect } from "node:util"
import { formatToken, parseToken, proof } from "../../../src/wire/identity/token.ts"
import type { EnrolmentToken } from "../../../src/wire/identity/token.ts"

const SECRET = Buffer.alloc(32, 7)
const PIN = `sha256:${"A".repeat(43)}`
const FIELDS = {
  id: "AAAAAAAAAAAAAAAAAAAAAA", secret: SECRET.toString("base64url"), role: "connector", tenant: "acme", name: "hq-1",
  trustDomain: "backup.example", expiresAtMs: 1_767_229_200_000, pins: { gateway: PIN, connector: PIN, worker: PIN },
}
const TOKEN: EnrolmentToken = {
  id: FIELDS.id,
  secret: createSecretKey(SECRET),
  identity: { trustDomain: "backup.example", role: "connector", tenant: "acme", name: "hq-1" },
  expiresAtMs: FIELDS.expiresAtMs,
  pins: FIELDS.pins,
}
const REFUSED = { name: "EkeyError", code: "ERR_TOKEN" }
const textOf = (fields: unknown): string => `ekey1.${Buffer.from(typeof fields === "string" ? fields : JSON.stringify(fields)).toString("base64url")}`

describe("Enrolment tokens", () => {
  it("are one line of text that reads back", () => {
    const text = formatToken(TOKEN)
    assert.match(text, /^ekey1\.[A-Za-z0-9_-]+$/)
    const { secret, ...rest } = parseToken(text)
    assert.deepEqual(secret.export(), SECRET)
    const { secret: _, ...expected } = TOKEN
    assert.deepEqual(rest, expected)
  })

  it("may end with one newline, as files do", () => {
    for (const end of ["\n", "\r\n"]) assert.equal(parseToken(formatToken(TOKEN) + end).id, TOKEN.id)
    for (const end of ["\n\n", " ", "\t\n"]) assert.throws(() => parseToken(formatToken(TOKEN) + end), REFUSED)
  })

  it("show their secret neither to inspection nor in JSON", () => {
    const shown = inspect(TOKEN, { depth: null, showHidden: true }) + JSON.stringify(TOKEN)
    for (const encoding of ["hex", "base64", "base64url", "latin1"] as const) assert.ok(!shown.includes(SECRET.toString(encoding)))
    assert.ok(!shown.includes("7, 7, 7"))
  })

  it("are refused when cut at any length or changed in any character", () => {
    const text = formatToken(TOKEN)
    for (let length = 0; length < text.length; length++) assert.throws(() => parseToken(text.slice(0, length)), REFUSED)
    for (const character of ["=", "+", " ", "\u0000", "."]) {
      for (let at = 0; at < text.length; at++) {
        if (text[at] !== character) assert.throws(() => parseToken(text.slice(0, at) + character + text.slice(at + 1)), REFUSED)
      }
    }
  })

  const rows: readonly [string, string][] = [
    ["nothing", ""],
    ["another prefix", textOf(FIELDS).replace("ekey1.", "ekey2.")],
    ["a text before it", ` ${textOf(FIELDS)}`],
    ["too much text", `ekey1.${"A".repeat(3000)}`],
    ["padding", `ekey1.${Buffer.from(JSON.stringify(FIELDS)).toString("base64")}=`],
    ["bad UTF-8", `ekey1.${Buffer.from([0x22, 0xff, 0x22]).toString("base64url")}`],
    ["no JSON", textOf("{")],
    ["null", textOf("null")],
    ["an array", textOf([FIELDS])],
    ["an unknown field", textOf({ ...FIELDS, extra: 1 })],
    ["a __proto__", textOf(`{"__proto__":{"role":"gateway"},${JSON.stringify(FIELDS).slice(1)}`)],
    ["a short secret", textOf({ ...FIELDS, secret: SECRET.subarray(1).toString("base64url") })],
    ["a long secret", textOf({ ...FIELDS, secret: Buffer.alloc(33).toString("base64url") })],
    ["a role of its own", textOf({ ...FIELDS, role: "admin" })],
    ["a gateway with a tenant", textOf({ ...FIELDS, role: "gateway" })],
    ["a connector without a tenant", textOf({ ...FIELDS, tenant: null })],
    ["a name with a slash", textOf({ ...FIELDS, name: "a/b" })],
    ["a trust domain in capitals", textOf({ ...FIELDS, trustDomain: "Backup.example" })],
    ["a missing pin", textOf({ ...FIELDS, pins: { gateway: PIN, connector: PIN } })],
    ["a malformed pin", textOf({ ...FIELDS, pins: { ...FIELDS.pins, worker: "sha1:AAAA" } })],
    ["a time that is no number", textOf({ ...FIELDS, expiresAtMs: "soon" })],
  ]
  for (const [name, text] of rows) {
    it(`are refused with ${name}, without repeating it`, () => {
      assert.throws(() => parseToken(text), (error) => {
        assert.ok(error instanceof Error && "code" in error)
        assert.equal(error.code, "ERR_TOKEN")
        assert.ok(!inspect(error).includes(SECRET.toString("base64url")))
        return true
      })
    })
  }
})

describe("The proof of a token", () => {
  const csr = Buffer.from("request")

  it("is HMAC-SHA-256 over label, request, tenant and name, each behind its length", () => {
    const field = (text: string): Buffer => Buffer.concat([Buffer.of(0, 0, 0, text.length), Buffer.from(text)])
    const input = Buffer.concat(["ekey.v1 enrolment", "request", "acme", "hq-1"].map(field))
    assert.deepEqual(proof(TOKEN.secret, csr, "acme", "hq-1"), createHmac("sha256", SECRET).update(input).digest())
  })

  it("is another for every other secret, request, tenant and name, and for a moved boundary", () => {
    const proofs = [
      proof(TOKEN.secret, csr, "acme", "hq-1"),
      proof(createSecretKey(Buffer.alloc(32, 8)), csr, "acme", "hq-1"),
      proof(TOKEN.secret, Buffer.from("requesu"), "acme", "hq-1"),
      proof(TOKEN.secret, csr, "acmf", "hq-1"),
      proof(TOKEN.secret, csr, "acme", "hq-2"),
      proof(TOKEN.secret, csr, "acmeh", "q-1"),
      proof(TOKEN.secret, csr, null, "acmehq-1"),
    ]
    assert.equal(new Set(proofs.map((bytes) => bytes.toString("hex"))).size, proofs.length)
  })
})
