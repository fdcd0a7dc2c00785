import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { decodeUtf8, toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { createFileDurably, isMissing, makePrivateFolder, readFileIfPresent, writeFileDurably } from "../base/files.ts"
import { signPss } from "../crypto/rsa.ts"
import { REVOCATION_LIFE_MS, revocationBytes } from "../wire/identity/revocation.ts"
import { MAX_REVOKED_SERIALS, RevocationList } from "../wire/messages/certificate.ts"
import { TimestampMs } from "../wire/messages/scalars.ts"
import type { AuthorityPlace, AuthorityRoot } from "./root.ts"

/** Serials stay on the list this long after their certificates expired, for clocks that are behind. */
const LINGER_MS = 24 * 60 * 60_000

const RevokedSerial = z.strictObject({ revokedAtMs: TimestampMs, notAfterMs: TimestampMs })

/**
 * What an authority has revoked: one file for each serial, created once. A command adds them while
 * the authority runs, and neither can undo what the other writes.
 */
export class RevokedSerials {
  readonly #folder: string

  constructor(place: AuthorityPlace) {
    this.#folder = join(place.folder, place.role, "revoked")
  }

  /** Revokes durably. Idempotent. */
  async add(serial: string, notAfterMs: number, nowMs: number): Promise<void> {
    await makePrivateFolder(this.#folder)
    await createFileDurably(this.#file(serial), JSON.stringify({ revokedAtMs: nowMs, notAfterMs }))
  }

  async has(serial: string): Promise<boolean> {
    return (await readFileIfPresent(this.#file(serial))) !== null
  }

  /** Those whose certificates could still be presented, in ascending order. */
  async current(nowMs: number): Promise<string[]> {
    const current: string[] = []
    for (const serial of await this.#all()) {
      const notAfterMs = readNotAfterMs(await readFileIfPresent(this.#file(serial)))
      if (nowMs < notAfterMs + LINGER_MS) current.push(serial)
    }
    return current.sort()
  }

  async #all(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).flatMap((file) => /^([0-9a-f]{32})\.json$/.exec(file)?.[1] ?? [])
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  #file(serial: string): string {
    return join(this.#folder, `${serial}.json`)
  }
}

/** Signs the list of revoked serials, and signs it anew when they change or half of its life is over. */
export class RevocationSigner {
  readonly #place: AuthorityPlace
  readonly #root: AuthorityRoot
  readonly #clock: Pick<Clock, "now">
  readonly #revoked: RevokedSerials

  constructor(options: { place: AuthorityPlace; root: AuthorityRoot; clock: Pick<Clock, "now">; revoked: RevokedSerials }) {
    this.#place = options.place
    this.#root = options.root
    this.#clock = options.clock
    this.#revoked = options.revoked
  }

  /** The list as it is now. Calls must not overlap. A new list is durable before it is returned. */
  async current(): Promise<{ list: RevocationList; fresh: boolean }> {
    const nowMs = this.#clock.now()
    const serials = await this.#revoked.current(nowMs)
    if (serials.length > MAX_REVOKED_SERIALS) throw new EkeyError("ERR_STORE", "more certificates are revoked than a list can carry: replace the root")
    const last = await this.#readLast()
    const ageMs = last ? nowMs - last.issuedAtMs : Infinity
    if (last && ageMs >= 0 && ageMs < REVOCATION_LIFE_MS / 2 && last.serials.join() === serials.join()) return { list: last, fresh: false }
    const list = {
      role: this.#place.role,
      // Seconds of the clock, so that an authority restored from an old backup still goes forward.
      number: Math.max((last?.number ?? 0) + 1, Math.floor(nowMs / 1000)),
      issuedAtMs: nowMs,
      nextUpdateMs: nowMs + REVOCATION_LIFE_MS,
      serials,
    }
    const signed = { ...list, signature: toBase64url(await signPss(this.#root.privateKey, revocationBytes(list))) }
    await writeFileDurably(this.#file(), JSON.stringify(signed))
    return { list: signed, fresh: true }
  }

  async #readLast(): Promise<RevocationList | null> {
    const stored = await readFileIfPresent(this.#file())
    if (!stored) return null
    try {
      return RevocationList.parse(JSON.parse(decodeUtf8(stored)))
    } catch (cause) {
      throw new EkeyError("ERR_STORE", "the last revocation list is damaged", { cause })
    }
  }

  #file(): string {
    return join(this.#place.folder, this.#place.role, "revocation-list.json")
  }
}

/** A file that can't be read still revokes by its name: for ever, since its end is not known. */
function readNotAfterMs(stored: Uint8Array | null): number {
  if (!stored) return Infinity
  try {
    return RevokedSerial.parse(JSON.parse(decodeUtf8(stored))).notAfterMs
  } catch {
    return Infinity
  }
}
