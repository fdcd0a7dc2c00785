import { createHmac, createSecretKey } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { z } from "zod"
import { decodeUtf8, fromBase64url, toBase64url } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import { encodeFields } from "../../crypto/fields.ts"
import { base64url, Id128, Name, TenantId, TimestampMs } from "../messages/scalars.ts"
import { Role, TrustDomain } from "./spiffe.ts"
import type { Identity } from "./spiffe.ts"
import type { RootPins } from "./trust.ts"

/** An enrolment token: a secret for one name, once, and the keys of the authorities to believe. */
export interface EnrolmentToken {
  readonly id: string
  /** 32 bytes. A KeyObject prints and serialises as nothing. */
  readonly secret: KeyObject
  readonly identity: Identity
  readonly expiresAtMs: number
  readonly pins: RootPins
}

const PREFIX = "ekey1."
const MAX_TOKEN_CHARACTERS = 2048
const SECRET_BYTES = 32

const Pin = z.string().regex(/^sha256:[A-Za-z0-9_-]{43}$/, "must be sha256: and 43 base64url digits")

const TokenFields = z.strictObject({
  id: Id128,
  secret: base64url({ bytes: SECRET_BYTES }),
  role: Role,
  tenant: TenantId.nullable(),
  name: Name,
  trustDomain: TrustDomain,
  expiresAtMs: TimestampMs,
  pins: z.strictObject({ gateway: Pin, connector: Pin, worker: Pin }),
}).refine(({ role, tenant }) => (role === "gateway") === (tenant === null), "a gateway has no tenant, and every other role has one")

/** The token as text for a file or stdin: never for a command line, which other accounts can read. */
export function formatToken(token: EnrolmentToken): string {
  const { role, tenant, name, trustDomain } = token.identity
  const fields: z.infer<typeof TokenFields> = {
    id: token.id,
    secret: toBase64url(token.secret.export()),
    role, tenant, name, trustDomain,
    expiresAtMs: token.expiresAtMs,
    pins: token.pins,
  }
  return PREFIX + toBase64url(Buffer.from(JSON.stringify(fields)))
}

/**
 * Reads a token file's text; one newline at its end is ignored.
 * @throws EkeyError ERR_TOKEN for everything that `formatToken` did not make; the text is not repeated.
 */
export function parseToken(text: string): EnrolmentToken {
  const line = text.replace(/\r?\n$/, "")
  if (line.length > MAX_TOKEN_CHARACTERS) throw malformed()
  const bytes = line.startsWith(PREFIX) ? fromBase64url(line.slice(PREFIX.length)) : null
  if (!bytes) throw malformed()
  const parsed = TokenFields.safeParse(parseJson(bytes))
  if (!parsed.success) throw malformed()
  const { id, secret, role, tenant, name, trustDomain, expiresAtMs, pins } = parsed.data
  const secretBytes = fromBase64url(secret)
  if (!secretBytes) throw malformed()
  return { id, secret: createSecretKey(secretBytes), identity: { trustDomain, role, tenant, name }, expiresAtMs, pins }
}

/**
 * Shows that the sender of a certificate request holds the token, without sending it:
 * HMAC-SHA-256 over the label `ekey.v1 enrolment`, the request's DER, tenant (empty for none) and name.
 */
export function proof(secret: KeyObject, csr: Uint8Array, tenant: string | null, name: string): Buffer {
  return createHmac("sha256", secret).update(encodeFields("ekey.v1 enrolment", [csr, tenant ?? "", name])).digest()
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes))
  } catch {
    // The parser's message would repeat part of the token.
    throw malformed()
  }
}

function malformed(): EkeyError {
  return new EkeyError("ERR_TOKEN", "the text is not an enrolment token")
}
