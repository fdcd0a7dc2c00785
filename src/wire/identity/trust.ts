import type { X509Certificate } from "node:crypto"
import { EkeyError } from "../../base/errors.ts"
import { isAcceptableRsaKey, spkiPin } from "../../crypto/rsa.ts"
import { parseCertificate } from "../../crypto/x509.ts"
import { ROLES, TrustDomain } from "./spiffe.ts"
import type { Role } from "./spiffe.ts"

/** Whom this end believes: for each role the roots whose signature makes a peer of that role. */
export interface Trust {
  readonly trustDomain: string
  /** A list each, since the old and the new root overlap while one is rotated. Empty: nobody of that role is believed. */
  readonly roots: Readonly<Record<Role, readonly X509Certificate[]>>
}

/** One pin (`spkiPin`) for each authority. */
export type RootPins = Readonly<Record<Role, string>>

export interface TrustOptions {
  readonly trustDomain: string
  /** DER of root certificates. */
  readonly roots: Readonly<Partial<Record<Role, readonly Uint8Array[]>>>
  /** When given, each role has exactly one root, of this key. */
  readonly pins?: RootPins
}

/** The name in the subject of a role's root: a root that says another role is refused at once. */
export function rootCommonName(role: Role): string {
  return `ekey ${role} authority`
}

/** The SPIFFE ID of a trust domain itself, which its roots carry. */
export function trustDomainUri(trustDomain: string): string {
  return `spiffe://${trustDomain}`
}

/**
 * Checks the form of every root and, if pins are given, its key. Dates are left to each verification.
 * @throws EkeyError ERR_CERT_AUTHORITY when a root is none, is pinned otherwise, or serves two roles.
 */
export function createTrust(options: TrustOptions): Trust {
  const { trustDomain, pins } = options
  if (!TrustDomain.safeParse(trustDomain).success) throw refused("the trust domain is malformed")
  const seen = new Map<string, Role>()
  const read = (role: Role): readonly X509Certificate[] => {
    const certificates = (options.roots[role] ?? []).map((der) => readRoot(der, role, trustDomain))
    if (pins && certificates.length !== 1) throw refused(`there is not exactly one root for the role ${role}`)
    for (const certificate of certificates) {
      const pin = spkiPin(certificate.publicKey)
      if (pins && pin !== pins[role]) throw refused(`the root for the role ${role} is not the pinned one`)
      // One key for two roles would let one authority vouch for the other's peers.
      if ((seen.get(pin) ?? role) !== role) throw refused("one root is given for two roles")
      seen.set(pin, role)
    }
    return Object.freeze(certificates)
  }
  return Object.freeze({
    trustDomain,
    roots: Object.freeze({ gateway: read("gateway"), connector: read("connector"), worker: read("worker") }),
  })
}

/** The trusted root whose key signed the certificate, and the role that it vouches for; or `null`. */
export function findSigner(trust: Trust, certificate: X509Certificate): { role: Role; root: X509Certificate } | null {
  for (const role of ROLES) {
    for (const root of trust.roots[role]) {
      if (certificate.checkIssued(root) && certificate.verify(root.publicKey)) return { role, root }
    }
  }
  return null
}

function readRoot(der: Uint8Array, role: Role, trustDomain: string): X509Certificate {
  try {
    const root = parseCertificate(der)
    if (!root.ca || root.subject !== `CN=${rootCommonName(role)}` || root.subjectAltName !== `URI:${trustDomainUri(trustDomain)}`) {
      throw refused(`the root for the role ${role} is not an authority's of that role and trust domain`)
    }
    if (!isAcceptableRsaKey(root.publicKey) || !root.checkIssued(root) || !root.verify(root.publicKey)) {
      throw refused(`the root for the role ${role} is not signed by itself`)
    }
    return root
  } catch (cause) {
    if (cause instanceof EkeyError && cause.code === "ERR_CERT_AUTHORITY") throw cause
    throw new EkeyError("ERR_CERT_AUTHORITY", `the root for the role ${role} can't be read`, { cause })
  }
}

function refused(message: string): EkeyError {
  return new EkeyError("ERR_CERT_AUTHORITY", message)
}
