import { createPrivateKey, randomBytes } from "node:crypto"
import type { KeyObject, X509Certificate } from "node:crypto"
import { mkdir, readdir } from "node:fs/promises"
import { join } from "node:path"
import { decodeUtf8 } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { createFileDurably, isMissing, makePrivateFolder, readFileIfPresent, readPrivateFile, writeFileDurably } from "../base/files.ts"
import { generateRsaKey, publicKeyOf, spkiPin } from "../crypto/rsa.ts"
import { fromPem, issueRoot, toPem } from "../crypto/x509.ts"
import type { Role } from "../wire/identity/spiffe.ts"
import { createTrust, rootCommonName, trustDomainUri } from "../wire/identity/trust.ts"
import type { RootPins } from "../wire/identity/trust.ts"

const ROOT_LIFE_MS = 10 * 365 * 24 * 60 * 60_000
/** Certificates begin this long before they are issued, for clocks that are behind. */
export const BACKDATE_MS = 5 * 60_000

/** Which authority, and where its files are. `folder` may be shared by the authorities of all three roles. */
export interface AuthorityPlace {
  readonly role: Role
  readonly folder: string
  readonly trustDomain: string
}

export interface AuthorityRoot {
  readonly certificate: X509Certificate
  readonly privateKey: KeyObject
  /** What the admin publishes and tokens carry. */
  readonly pin: string
}

/** 128 bits that no other certificate has; the leading bits keep it positive and at full length. */
export function newSerial(): string {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes.toString("hex")
}

/**
 * Loads the root of an authority, or makes it where there has never been one. Key and certificate
 * are one file, `<role>/root-key.pem` (0600); the certificate alone is published as `roots/<role>.pem`.
 * @throws EkeyError ERR_AUTHORITY_ROOT when the root is damaged, of another role or trust domain, or
 * missing beside records of what it signed: a new one would be trusted by nobody.
 */
export async function openRoot(place: AuthorityPlace, clock: Pick<Clock, "now">, rsaBits = 3072): Promise<AuthorityRoot> {
  await makePrivateFolder(join(place.folder, place.role))
  let stored = await readPrivateFile(rootKeyFile(place))
  if (!stored) {
    await refuseIfUsed(place)
    // Two processes may start at once: one's root wins, and both load that.
    await createFileDurably(rootKeyFile(place), await makeRoot(place, clock.now(), rsaBits))
    stored = await readPrivateFile(rootKeyFile(place))
  }
  const root = readRoot(place, stored ?? Buffer.alloc(0))
  await publish(place, root)
  return root
}

/**
 * The published root of each authority, DER.
 * @throws EkeyError ERR_AUTHORITY_ROOT while one of them is missing or damaged.
 */
export async function readPublishedRoots(folder: string, trustDomain: string): Promise<{ roots: Record<Role, Uint8Array[]>; pins: RootPins }> {
  const roots = { gateway: await readPublished(folder, "gateway"), connector: await readPublished(folder, "connector"), worker: await readPublished(folder, "worker") }
  try {
    const trust = createTrust({ trustDomain, roots })
    const pinOf = (role: Role): string => {
      const [root, second] = trust.roots[role]
      if (!root || second) throw new EkeyError("ERR_AUTHORITY_ROOT", `there is not exactly one published root of the ${role} authority`)
      return spkiPin(root.publicKey)
    }
    return { roots, pins: { gateway: pinOf("gateway"), connector: pinOf("connector"), worker: pinOf("worker") } }
  } catch (cause) {
    throw new EkeyError("ERR_AUTHORITY_ROOT", "the published roots can't be used", { cause })
  }
}

async function readPublished(folder: string, role: Role): Promise<Uint8Array[]> {
  const stored = await readFileIfPresent(publishedFile({ folder, role }))
  if (!stored) throw new EkeyError("ERR_AUTHORITY_ROOT", `the published root of the ${role} authority is missing: start that authority once, or copy its roots/${role}.pem here`)
  try {
    return fromPem(decodeUtf8(stored))
  } catch (cause) {
    throw new EkeyError("ERR_AUTHORITY_ROOT", `the published root of the ${role} authority can't be read`, { cause })
  }
}

async function makeRoot(place: AuthorityPlace, nowMs: number, rsaBits: number): Promise<string> {
  const privateKey = await generateRsaKey(rsaBits)
  const certificate = await issueRoot({
    privateKey,
    commonName: rootCommonName(place.role),
    uri: trustDomainUri(place.trustDomain),
    serial: newSerial(),
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: nowMs + ROOT_LIFE_MS,
  })
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString() + toPem(certificate)
}

function readRoot(place: AuthorityPlace, stored: Buffer): AuthorityRoot {
  try {
    const text = decodeUtf8(stored)
    const privateKey = createPrivateKey(text)
    const [certificate] = createTrust({ trustDomain: place.trustDomain, roots: { [place.role]: fromPem(text) } }).roots[place.role]
    if (!certificate?.publicKey.equals(publicKeyOf(privateKey))) throw new EkeyError("ERR_AUTHORITY_ROOT", "the root's key is not its certificate's")
    return { certificate, privateKey, pin: spkiPin(privateKey) }
  } catch (cause) {
    throw new EkeyError("ERR_AUTHORITY_ROOT", `the root in ${rootKeyFile(place)} can't be used for the role ${place.role} of ${place.trustDomain}`, { cause })
  }
}

/** Publishes the certificate; one that is published already must be the same. */
async function publish(place: AuthorityPlace, root: AuthorityRoot): Promise<void> {
  const text = toPem(root.certificate.raw)
  const published = await readFileIfPresent(publishedFile(place))
  if (published?.equals(Buffer.from(text))) return
  if (published) throw new EkeyError("ERR_AUTHORITY_ROOT", `${publishedFile(place)} is not the root of ${rootKeyFile(place)}: find out who replaced one of them`)
  await mkdir(join(place.folder, "roots"), { recursive: true })
  await writeFileDurably(publishedFile(place), text, { public: true })
}

async function refuseIfUsed(place: AuthorityPlace): Promise<void> {
  const published = await readFileIfPresent(publishedFile(place))
  const records = [...await list(join(place.folder, place.role)), ...(published ? ["roots"] : [])]
  if (records.length > 0) {
    throw new EkeyError("ERR_AUTHORITY_ROOT", `the root is missing from ${join(place.folder, place.role)} beside records of its use`)
  }
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.endsWith(".new"))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

function rootKeyFile({ folder, role }: AuthorityPlace): string {
  return join(folder, role, "root-key.pem")
}

function publishedFile({ folder, role }: Pick<AuthorityPlace, "folder" | "role">): string {
  return join(folder, "roots", `${role}.pem`)
}
