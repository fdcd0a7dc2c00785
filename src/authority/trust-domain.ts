import { readFileIfPresent } from "../base/files.ts"
import { decodeUtf8 } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import { fromPem, parseCertificate } from "../crypto/x509.ts"
import type { Role } from "../wire/identity/spiffe.ts"
import { join } from "node:path"

/** @returns the trust domain that a folder's published root names, or `null` where none is published yet. */
export async function publishedTrustDomain(folder: string, role: Role): Promise<string | null> {
  const stored = await readFileIfPresent(join(folder, "roots", `${role}.pem`))
  if (!stored) return null
  const [der] = fromPem(decodeUtf8(stored))
  const trustDomain = /^URI:spiffe:\/\/([a-z0-9.-]+)$/.exec(der ? parseCertificate(der).subjectAltName ?? "" : "")?.[1]
  if (trustDomain === undefined) throw new EkeyError("ERR_AUTHORITY_ROOT", `the published root of the ${role} authority is damaged`)
  return trustDomain
}
