import { fromBase64url } from "../../../src/base/bytes.ts"
import { encodeFields, uint32, uint64 } from "../../../src/crypto/fields.ts"
import { parseSpiffeId } from "../../../src/wire/identity/spiffe.ts"
import { hex, testBytes, vectorFile } from "./vector-file.ts"

type VectorField = { readonly text: string } | { readonly bytes: string } | { readonly uint32: number } | { readonly uint64: number }

const FIELD_CASES: readonly { readonly label: string; readonly fields: readonly VectorField[] }[] = [
  { label: "ekey.v1 example", fields: [{ text: "acme" }, { bytes: "00ff" }, { uint64: 1_767_225_600_000 }, { text: "" }] },
  { label: "l", fields: [] },
  { label: "l", fields: [{ text: "" }] },
  { label: "l", fields: [{ text: "ab" }, { text: "c" }] },
  { label: "l", fields: [{ text: "a" }, { text: "bc" }] },
  { label: "é", fields: [{ text: "€🔑" }] },
  { label: "l", fields: [{ uint32: 0 }, { uint32: 4_294_967_295 }, { uint64: Number.MAX_SAFE_INTEGER }] },
]

export function fieldVectors(): string {
  return vectorFile("section 2.2", {
    vectors: FIELD_CASES.map(({ label, fields }) => ({ label, fields, encoded: hex(encodeFields(label, fields.map(toField))) })),
  })
}

function toField(field: VectorField): Uint8Array | string {
  if ("text" in field) return field.text
  if ("bytes" in field) return Buffer.from(field.bytes, "hex")
  return "uint32" in field ? uint32(field.uint32) : uint64(field.uint64)
}

const BASE64URL_REJECTED = [
  { text: "AA==", why: "padding" },
  { text: "A", why: "six bits make no byte" },
  { text: "AB", why: "unused bits are not zero: AA is the one spelling" },
  { text: "AAB", why: "unused bits are not zero: AAA is the one spelling" },
  { text: "-_+/", why: "+ and / are of the other alphabet" },
  { text: "AA A", why: "a space" },
  { text: "AAAA\n", why: "a line end" },
  { text: "AAAA.", why: "a character of no alphabet" },
  { text: "ÄAAA", why: "a character of no alphabet" },
]

export function base64urlVectors(): string {
  const accepted = ["", "AA", "AAA", "AAAA", "_w", "__8", "-_-_", testBytes("base64url", 32).toString("base64url")]
  return vectorFile("section 2.1", {
    accepted: accepted.map((text) => ({ text, bytes: hex(fromBase64url(text) ?? refused(text)) })),
    rejected: BASE64URL_REJECTED,
  })
}

const SPIFFE_REJECTED = [
  { id: "spiffe://backup.example/tenant/acme/gateway/gw-1", why: "a gateway has no tenant" },
  { id: "spiffe://backup.example/worker/w-1", why: "a worker has a tenant" },
  { id: "spiffe://backup.example/tenant/acme/admin/a-1", why: "no role" },
  { id: "spiffe://backup.example/tenant/acme/worker/w-1/", why: "a slash at the end" },
  { id: "spiffe://backup.example/tenant/acme/worker/w-1?x", why: "a query" },
  { id: "spiffe://backup.example:443/tenant/acme/worker/w-1", why: "a port" },
  { id: "spiffe://Backup.example/tenant/acme/worker/w-1", why: "a capital letter" },
  { id: "spiffe://backup..example/tenant/acme/worker/w-1", why: "an empty label in the trust domain" },
  { id: "spiffe://backup.example/tenant/-acme/worker/w-1", why: "a hyphen at a border of a name" },
  { id: "spiffe://backup.example/tenant/acme/worker/w%2d1", why: "an escape" },
  { id: "spiffe://backup.example/tenant//worker/w-1", why: "an empty tenant" },
  { id: `spiffe://backup.example/tenant/acme/worker/${"w".repeat(64)}`, why: "a name of 64 characters" },
  { id: "SPIFFE://backup.example/tenant/acme/worker/w-1", why: "another spelling of the scheme" },
  { id: "spiffe://backup.example", why: "a trust domain alone is nobody" },
]

export function spiffeVectors(): string {
  const accepted = [
    "spiffe://backup.example/gateway/gw-1",
    "spiffe://backup.example/tenant/acme/connector/hq-1",
    "spiffe://backup.example/tenant/acme/worker/w-1",
    `spiffe://local/tenant/0/worker/${"w".repeat(63)}`,
  ]
  return vectorFile("section 4.1", { accepted: accepted.map((id) => ({ id, ...parseSpiffeId(id) })), rejected: SPIFFE_REJECTED })
}

function refused(text: string): never {
  throw new Error(`the code refuses ${text}`)
}
