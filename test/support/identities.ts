import { randomBytes } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import { generateRsaKey, publicKeyOf, signPss, spkiPin } from "../../src/crypto/rsa.ts"
import { issueLeaf, issueRoot } from "../../src/crypto/x509.ts"
import { toLocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { RevocationLists, revocationBytes } from "../../src/wire/identity/revocation.ts"
import { formatSpiffeId } from "../../src/wire/identity/spiffe.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import { createTrust, rootCommonName, trustDomainUri } from "../../src/wire/identity/trust.ts"
import type { RootPins, Trust } from "../../src/wire/identity/trust.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import { START_MS } from "./fake-clock.ts"

export const TRUST_DOMAIN = "backup.example"

const DAY_MS = 24 * 60 * 60_000
const pool: Promise<KeyObject>[] = []

/**
 * An RSA-2048 private key, quick to make and shared by the whole run: the same `index`, the same
 * key. Roots of `mintAuthorities` use the indices from 100 on.
 */
export function testKey(index: number): Promise<KeyObject> {
  const key = pool[index] ?? generateRsaKey(2048)
  pool[index] = key
  return key
}

/** A serial as authorities make them. */
export function testSerial(): string {
  return `4${randomBytes(16).toString("hex").slice(1)}`
}

export interface LeafOptions {
  readonly role: Role
  /** Default: `acme`, and `null` for a gateway. */
  readonly tenant?: string | null
  /** Default: the role and `-1`. */
  readonly name?: string
  /** Whose root signs. Default: the role's own. */
  readonly signedBy?: Role
  /** Put into the certificate instead of the identity's SPIFFE ID. */
  readonly uri?: string
  readonly usage?: "client" | "server"
  readonly serial?: string
  /** Default: index 0, 1, 2 of `testKey` for gateway, connector, worker. */
  readonly privateKey?: KeyObject
  /** Default: five minutes before the authorities' `nowMs`. */
  readonly notBeforeMs?: number
  /** Default: a day after `nowMs`. */
  readonly notAfterMs?: number
}

const KEY_OF_ROLE: Readonly<Record<Role, number>> = { gateway: 0, connector: 1, worker: 2 }

/** The three authorities of one trust domain, in memory. */
export class TestAuthorities {
  readonly trustDomain: string
  readonly nowMs: number
  readonly keys: Readonly<Record<Role, KeyObject>>
  readonly roots: Readonly<Record<Role, Uint8Array>>
  readonly trust: Trust
  readonly pins: RootPins
  #number = 0

  constructor(options: { trustDomain: string; nowMs: number; keys: Record<Role, KeyObject>; roots: Record<Role, Uint8Array> }) {
    const { trustDomain, nowMs, keys, roots } = options
    this.trustDomain = trustDomain
    this.nowMs = nowMs
    this.keys = keys
    this.roots = roots
    this.trust = createTrust({ trustDomain, roots: { gateway: [roots.gateway], connector: [roots.connector], worker: [roots.worker] } })
    this.pins = { gateway: spkiPin(keys.gateway), connector: spkiPin(keys.connector), worker: spkiPin(keys.worker) }
  }

  /** A leaf's DER; with options that no real authority would follow too. */
  async leaf(options: LeafOptions): Promise<Buffer> {
    const { role } = options
    const tenant = options.tenant === undefined && role !== "gateway" ? "acme" : options.tenant ?? null
    const name = options.name ?? `${role}-1`
    const signer = options.signedBy ?? role
    return await issueLeaf({
      issuer: { certificate: this.roots[signer], privateKey: this.keys[signer] },
      publicKey: publicKeyOf(options.privateKey ?? await testKey(KEY_OF_ROLE[role])),
      commonName: name,
      uri: options.uri ?? formatSpiffeId({ trustDomain: this.trustDomain, role, tenant, name }),
      serial: options.serial ?? testSerial(),
      notBeforeMs: options.notBeforeMs ?? this.nowMs - 5 * 60_000,
      notAfterMs: options.notAfterMs ?? this.nowMs + DAY_MS,
      usage: options.usage ?? (role === "gateway" ? "server" : "client"),
    })
  }

  /** A proper identity, as an enrolled process has it. */
  async identity(options: LeafOptions): Promise<LocalIdentity> {
    const privateKey = options.privateKey ?? await testKey(KEY_OF_ROLE[options.role])
    return toLocalIdentity(privateKey, await this.leaf({ ...options, privateKey }), this.trust)
  }

  /** A signed list; each is numbered one higher than the last, unless overridden. */
  async revocationList(role: Role, serials: readonly string[] = [], changes: Partial<RevocationList> = {}): Promise<RevocationList> {
    this.#number += 1
    const list = {
      role, number: this.#number, issuedAtMs: this.nowMs, nextUpdateMs: this.nowMs + DAY_MS, serials: [...serials].sort(), ...changes,
    }
    return { ...list, signature: changes.signature ?? toBase64url(await signPss(this.keys[role], revocationBytes(list))) }
  }

  /** Lists of all three roles, applied and fresh at `nowMs`. */
  async freshRevocations(revoked: Partial<Record<Role, readonly string[]>> = {}): Promise<RevocationLists> {
    const lists = new RevocationLists({ trust: this.trust, clock: { now: () => this.nowMs } })
    for (const role of ["gateway", "connector", "worker"] as const) lists.apply(await this.revocationList(role, revoked[role]))
    return lists
  }
}

/**
 * Mints three roots. Two calls with different `firstKey` make authorities that know nothing of each
 * other. `nowMs` is the time at which everything minted is valid.
 */
export async function mintAuthorities(options: { trustDomain?: string; nowMs?: number; firstKey?: number } = {}): Promise<TestAuthorities> {
  const { trustDomain = TRUST_DOMAIN, nowMs = START_MS, firstKey = 100 } = options
  const [gateway, connector, worker] = await Promise.all([testKey(firstKey), testKey(firstKey + 1), testKey(firstKey + 2)])
  const rootOf = (role: Role, privateKey: KeyObject): Promise<Buffer> => issueRoot({
    privateKey,
    commonName: rootCommonName(role),
    uri: trustDomainUri(trustDomain),
    serial: testSerial(),
    notBeforeMs: nowMs - DAY_MS,
    notAfterMs: nowMs + 3650 * DAY_MS,
  })
  const roots = { gateway: await rootOf("gateway", gateway), connector: await rootOf("connector", connector), worker: await rootOf("worker", worker) }
  return new TestAuthorities({ trustDomain, nowMs, keys: { gateway, connector, worker }, roots })
}
