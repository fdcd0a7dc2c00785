import { createPrivateKey } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { decodeUtf8 } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import { makePrivateFolder, readFileIfPresent, readPrivateFile, writeFileDurably } from "../../base/files.ts"
import { generateRsaKey, publicKeyOf } from "../../crypto/rsa.ts"
import { fromPem, parseCertificate, toPem } from "../../crypto/x509.ts"
import { RevocationList } from "../messages/certificate.ts"
import { ROLES } from "./spiffe.ts"
import type { Identity, Role } from "./spiffe.ts"
import { createTrust, findSigner } from "./trust.ts"
import type { Trust } from "./trust.ts"
import { readLeaf } from "./verification.ts"

/** Who this process is, how it shows that, and whom it believes. */
export interface LocalIdentity {
  readonly identity: Identity
  /** 32 lower-case hexadecimal digits. */
  readonly serial: string
  readonly privateKey: KeyObject
  readonly certificateDer: Uint8Array
  readonly certificatePem: string
  /** PKCS#8; a string only because TLS asks for PEM. */
  readonly keyPem: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly trust: Trust
}

/**
 * Puts an identity together from its parts; dates are not judged, so that an expired one still loads.
 * @throws EkeyError ERR_CERT_MALFORMED, ERR_CERT_ROLE or ERR_CERT_AUTHORITY when they don't belong together.
 */
export function toLocalIdentity(privateKey: KeyObject, certificateDer: Uint8Array, trust: Trust): LocalIdentity {
  const certificate = parseCertificate(certificateDer)
  const { identity, serial } = readLeaf(certificate, certificate.publicKey)
  if (!certificate.publicKey.equals(publicKeyOf(privateKey))) throw new EkeyError("ERR_CERT_MALFORMED", "the certificate is for another key")
  const signer = findSigner(trust, certificate)
  if (!signer) throw new EkeyError("ERR_CERT_AUTHORITY", "the certificate is not signed by a trusted authority")
  if (signer.role !== identity.role) throw new EkeyError("ERR_CERT_ROLE", "the certificate's authority may not vouch for its role")
  return {
    identity,
    serial,
    privateKey,
    certificateDer,
    certificatePem: toPem(certificateDer),
    keyPem: toKeyPem(privateKey),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    trust,
  }
}

const PendingKey = z.strictObject({ purpose: z.string(), key: z.string() })
const StoredLists = z.array(RevocationList).max(ROLES.length)

/**
 * Where a process keeps its identity: `identity.pem` (key and certificate in one file, so that one
 * rename replaces both), `roots/<role>.pem`, `revocations.json`, and `pending-key.json` while a
 * certificate is being asked for. A crash between any two writes leaves an identity that loads, or
 * a pending key with which the same request can be made again.
 */
export class IdentityFolder {
  readonly #path: string

  /** `path` need not exist. */
  constructor(path: string) {
    this.#path = path
  }

  /**
   * @returns the identity, or `null` if the folder has none.
   * @throws EkeyError ERR_FILE when others may read it, or the files don't fit together.
   */
  async load(): Promise<LocalIdentity | null> {
    const stored = await readPrivateFile(this.#identityFile())
    if (!stored) return null
    try {
      const text = decodeUtf8(stored)
      const [certificateDer] = fromPem(text)
      if (!certificateDer) throw new EkeyError("ERR_FILE", "the identity has no certificate")
      const certificate = parseCertificate(certificateDer)
      const { identity } = readLeaf(certificate, certificate.publicKey)
      const roots = { gateway: await this.#readRoot("gateway"), connector: await this.#readRoot("connector"), worker: await this.#readRoot("worker") }
      return toLocalIdentity(createPrivateKey(text), certificateDer, createTrust({ trustDomain: identity.trustDomain, roots }))
    } catch (cause) {
      throw new EkeyError("ERR_FILE", `the identity in ${this.#path} can't be used: enrol again with a new token`, { cause })
    }
  }

  /** Makes `identity` the folder's own, durably, and ends what was pending. */
  async save(identity: LocalIdentity): Promise<void> {
    await makePrivateFolder(join(this.#path, "roots"))
    for (const role of ROLES) await this.#saveRoot(role, identity.trust)
    await writeFileDurably(this.#identityFile(), identity.keyPem + identity.certificatePem)
    await rm(this.#pendingFile(), { force: true })
  }

  /**
   * The private key for one request, made at the first call and durable before it is returned. A
   * repeated request for the same `purpose` (a token's id, the serial to renew) gets the same key:
   * the authority answers it again after a lost answer, but no other key.
   */
  async pendingKey(purpose: string): Promise<KeyObject> {
    const stored = await readPrivateFile(this.#pendingFile())
    const pending = stored === null ? null : readPending(stored)
    if (pending?.purpose === purpose) return pending.key
    const key = await generateRsaKey()
    await makePrivateFolder(this.#path)
    await writeFileDurably(this.#pendingFile(), JSON.stringify({ purpose, key: toKeyPem(key) }))
    return key
  }

  /**
   * The lists that `saveRevocations` kept, unverified: `RevocationLists.apply` judges them.
   * @throws EkeyError ERR_FILE when the file is damaged: with lists forgotten, older ones would be believed.
   */
  async loadRevocations(): Promise<readonly RevocationList[]> {
    const stored = await readFileIfPresent(this.#revocationsFile())
    if (!stored) return []
    try {
      return StoredLists.parse(JSON.parse(decodeUtf8(stored)))
    } catch (cause) {
      throw new EkeyError("ERR_FILE", `the revocation lists in ${this.#revocationsFile()} are damaged: remove the file to fetch them again`, { cause })
    }
  }

  /** Keeps the lists, so that after a restart nobody can go back to older ones. */
  async saveRevocations(lists: readonly RevocationList[]): Promise<void> {
    await makePrivateFolder(this.#path)
    await writeFileDurably(this.#revocationsFile(), JSON.stringify(lists))
  }

  async #readRoot(role: Role): Promise<Uint8Array[]> {
    const stored = await readFileIfPresent(this.#rootFile(role))
    return stored ? fromPem(decodeUtf8(stored)) : []
  }

  async #saveRoot(role: Role, trust: Trust): Promise<void> {
    const text = trust.roots[role].map((root) => toPem(root.raw)).join("")
    const before = await readFileIfPresent(this.#rootFile(role))
    if (before?.equals(Buffer.from(text))) return
    // Lists that another root signed would be refused for ever.
    await rm(this.#revocationsFile(), { force: true })
    await writeFileDurably(this.#rootFile(role), text)
  }

  #identityFile(): string {
    return join(this.#path, "identity.pem")
  }

  #pendingFile(): string {
    return join(this.#path, "pending-key.json")
  }

  #revocationsFile(): string {
    return join(this.#path, "revocations.json")
  }

  #rootFile(role: Role): string {
    return join(this.#path, "roots", `${role}.pem`)
  }
}

/** `null` if the file can't be used: then a new key replaces it, which costs at most a new token. */
function readPending(stored: Buffer): { purpose: string; key: KeyObject } | null {
  try {
    const { purpose, key } = PendingKey.parse(JSON.parse(decodeUtf8(stored)))
    return { purpose, key: createPrivateKey(key) }
  } catch {
    return null
  }
}

function toKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString()
}
