import { createSecretKey, randomBytes } from "node:crypto"
import type { KeyObject } from "node:crypto"
import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { decodeUtf8, fromBase64url, toBase64url } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import { createFileDurably, isMissing, makePrivateFolder, readPrivateFile, writeFileDurably } from "../base/files.ts"
import type { Identity } from "../wire/identity/spiffe.ts"
import { base64url, Id128, Name, TenantId, TimestampMs } from "../wire/messages/scalars.ts"
import type { AuthorityPlace } from "./root.ts"

export const TOKEN_LIFE_MS = 60 * 60_000

/** A token as its authority knows it. */
export interface KnownToken {
  readonly id: string
  readonly secret: KeyObject
  readonly identity: Identity
  readonly expiresAtMs: number
}

const StoredToken = z.strictObject({
  id: Id128,
  secret: base64url({ bytes: 32 }),
  tenant: TenantId.nullable(),
  name: Name,
  expiresAtMs: TimestampMs,
})
const StoredUse = z.strictObject({ publicKeyPin: z.string() })

/**
 * The tokens of one authority, two files each: `<id>.json` with the secret, removed when the token
 * has expired, and `<id>.used.json`, created once and never changed. Its exclusive creation is what
 * makes a token single-use, whichever processes race for it.
 */
export class TokenStore {
  readonly #place: AuthorityPlace
  readonly #folder: string

  constructor(place: AuthorityPlace) {
    this.#place = place
    this.#folder = join(place.folder, place.role, "tokens")
  }

  /** Makes a token that is good for one hour. */
  async mint(tenant: string | null, name: string, nowMs: number): Promise<KnownToken> {
    const { trustDomain, role } = this.#place
    const secret = randomBytes(32)
    const stored = { id: toBase64url(randomBytes(16)), secret: toBase64url(secret), tenant, name, expiresAtMs: nowMs + TOKEN_LIFE_MS }
    await makePrivateFolder(this.#folder)
    await writeFileDurably(this.#tokenFile(stored.id), JSON.stringify(stored))
    return { id: stored.id, secret: createSecretKey(secret), identity: { trustDomain, role, tenant, name }, expiresAtMs: stored.expiresAtMs }
  }

  /** @returns `null` if there is no such token, or its secret is gone with its expiry. `id` may be anything. */
  async read(id: string): Promise<KnownToken | null> {
    if (!Id128.safeParse(id).success) return null // It becomes a file name.
    const stored = await readPrivateFile(this.#tokenFile(id))
    if (!stored) return null
    const token = parse(StoredToken, stored)
    const secret = fromBase64url(token.secret)
    if (token.id !== id || !secret) return null // A file system that ignores case finds another one.
    const { trustDomain, role } = this.#place
    return { id, secret: createSecretKey(secret), identity: { trustDomain, role, tenant: token.tenant, name: token.name }, expiresAtMs: token.expiresAtMs }
  }

  /**
   * Uses the token up for one public key.
   * @returns the pin of the key that it is good for: this one, if it is the first or comes again.
   */
  async use(id: string, publicKeyPin: string): Promise<string> {
    await createFileDurably(this.#useFile(id), JSON.stringify({ publicKeyPin }))
    const stored = await readPrivateFile(this.#useFile(id))
    if (!stored) throw new EkeyError("ERR_STORE", "the record of a token's use is missing")
    return parse(StoredUse, stored).publicKeyPin
  }

  /** Makes every token for that name unknown, used or not. */
  async cancel(tenant: string | null, name: string): Promise<void> {
    for (const id of await this.#ids()) {
      const token = await this.read(id)
      if (token?.identity.tenant === tenant && token.identity.name === name) await rm(this.#tokenFile(id), { force: true })
    }
  }

  /** Forgets the secrets of tokens that have expired. */
  async dropExpired(nowMs: number): Promise<void> {
    for (const id of await this.#ids()) {
      const token = await this.read(id)
      if (token && nowMs >= token.expiresAtMs) await rm(this.#tokenFile(id), { force: true })
    }
  }

  async #ids(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).flatMap((file) => /^([A-Za-z0-9_-]{22})\.json$/.exec(file)?.[1] ?? [])
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  #tokenFile(id: string): string {
    return join(this.#folder, `${id}.json`)
  }

  #useFile(id: string): string {
    return join(this.#folder, `${id}.used.json`)
  }
}

function parse<T>(schema: z.ZodType<T>, stored: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(decodeUtf8(stored)))
  } catch {
    // The parser's message could repeat part of a secret.
    throw new EkeyError("ERR_STORE", "a token's record is damaged")
  }
}
