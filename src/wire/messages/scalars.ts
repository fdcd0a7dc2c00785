import { z } from "zod"
import { fromBase64url } from "../../base/bytes.ts"

/** Names of tenants, connectors, workers, jobs and schedules: DNS-label-like, so they are safe in SPIFFE IDs, paths and logs. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

export const TenantId = z.string().regex(NAME, "must be 1 to 63 of a-z, 0-9 and inner hyphens").describe("a customer's name")
export const Name = z.string().regex(NAME, "must be 1 to 63 of a-z, 0-9 and inner hyphens").describe("a name of 1 to 63 of a-z, 0-9 and inner hyphens")

/** A user's opaque id or e-mail address: 1 to 256 visible ASCII characters. Compared byte by byte. */
export const UserId = z.string().min(1).max(256).regex(/^[\x21-\x7e]+$/, "must be visible ASCII without spaces")
  .describe("a user's opaque id or e-mail address, compared byte by byte")

/** Milliseconds since the Unix epoch. */
export const TimestampMs = z.int().min(0).max(8_640_000_000_000_000).describe("milliseconds since the Unix epoch")

/** How long the caller waits for the answer, in milliseconds left at sending. */
export const DeadlineMs = z.int().min(1).max(60_000).describe("how long the caller still waits for the answer, in milliseconds, when it sends")

/** An ekey's version, counting from 1. */
export const EkeyVersion = z.int().min(1).max(0xffffffff).describe("an ekey's version, counting from 1")

/** Canonical base64url without padding (RFC 4648 section 5), decoded to bytes. */
export function base64url(size: { bytes: number } | { maxBytes: number }): z.ZodType<string, string> {
  const maxBytes = "bytes" in size ? size.bytes : size.maxBytes
  const text = "bytes" in size ? `${String(size.bytes)} bytes` : `at most ${String(size.maxBytes)} bytes`
  return z.string()
    .max(Math.ceil(maxBytes * 4 / 3))
    .refine("bytes" in size ? encodesExactly(size.bytes) : isCanonicalText, `must be canonical base64url of ${text}`)
    // `minLength` is for the reference: the check above implies it.
    .meta({ description: `base64url of ${text}`, contentEncoding: "base64url", minLength: Math.ceil(("bytes" in size ? size.bytes : 1) * 4 / 3) })
}

/** The length is bounded already, and says how many bytes there are. */
function isCanonicalText(value: string): boolean {
  return value !== "" && fromBase64url(value) !== null
}

/** The last character's letters whose unused bits are zero, by how many bytes it ends beyond whole groups of three. */
const LAST = ["[A-Za-z0-9_-]", "[AQgw]", "[AEIMQUYcgkosw048]"] as const

/** For the short values of every release: a third of what decoding and encoding again costs. */
function encodesExactly(bytes: number): (value: string) => boolean {
  const form = new RegExp(`^[A-Za-z0-9_-]{${String(Math.ceil(bytes * 4 / 3) - 1)}}${LAST[bytes % 3] ?? ""}$`)
  return (value) => form.test(value)
}

/** Random ids that one end chooses: sessions, operations, runs. */
export const Id128 = base64url({ bytes: 16 }).describe("a random id of 16 bytes")
