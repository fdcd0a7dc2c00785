import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { decodeUtf8 } from "../base/bytes.ts"
import { EkeyError } from "../base/errors.ts"
import { isMissing, makePrivateFolder, readFileIfPresent, writeFileDurably } from "../base/files.ts"
import { CertificateDer, Serial } from "../wire/messages/certificate.ts"
import { Id128, Name, TenantId, TimestampMs } from "../wire/messages/scalars.ts"
import type { AuthorityPlace } from "./root.ts"

/** One certificate that left this authority, or was about to. */
const IssuedRecord = z.strictObject({
  serial: Serial,
  issuedAtMs: TimestampMs,
  notAfterMs: TimestampMs,
  publicKeyPin: z.string(),
  /** DER, base64url. */
  certificate: CertificateDer,
  /** What it was issued for: a token's id, or the serial of the certificate that it renews. */
  basis: z.union([z.strictObject({ tokenId: Id128 }), z.strictObject({ renews: Serial })]),
})
export type IssuedRecord = z.infer<typeof IssuedRecord>

/** A name at this authority; the tenant is `null` at the gateways' one. */
export interface IssuedTo {
  readonly tenant: string | null
  readonly name: string
}

/** No tenant's name: tenants have no underscore. */
const NO_TENANT = "_"

/**
 * What an authority has issued, one file for each name, oldest first. A record is durable before
 * its certificate leaves, so there is no certificate that can't be found and revoked. Written only
 * by the running authority; others read.
 */
export class IssuedRecords {
  readonly #folder: string

  constructor(place: AuthorityPlace) {
    this.#folder = join(place.folder, place.role, "issued")
  }

  /** Empty if nothing was issued to that name. */
  async of(to: IssuedTo): Promise<readonly IssuedRecord[]> {
    const stored = await readFileIfPresent(this.#file(to))
    if (!stored) return []
    try {
      return z.array(IssuedRecord).parse(JSON.parse(decodeUtf8(stored)))
    } catch (cause) {
      throw new EkeyError("ERR_STORE", "the record of issued certificates is damaged", { cause })
    }
  }

  /** Adds a record, and forgets those that have expired except the newest. */
  async add(to: IssuedTo, record: IssuedRecord, nowMs: number): Promise<void> {
    const live = (await this.of(to)).filter(({ notAfterMs }) => notAfterMs > nowMs)
    await makePrivateFolder(join(this.#folder, to.tenant ?? NO_TENANT))
    await writeFileDurably(this.#file(to), JSON.stringify([...live, record]))
  }

  /** The record of a serial and whose it is, or `null`. Reads every file: for commands, not for requests. */
  async find(serial: string): Promise<{ to: IssuedTo; record: IssuedRecord } | null> {
    for (const folder of await names(this.#folder)) {
      for (const file of await names(join(this.#folder, folder))) {
        const to = { tenant: folder === NO_TENANT ? null : folder, name: file.replace(/\.json$/, "") }
        if (!file.endsWith(".json")) continue
        const record = (await this.of(to)).find((candidate) => candidate.serial === serial)
        if (record) return { to, record }
      }
    }
    return null
  }

  #file({ tenant, name }: IssuedTo): string {
    return join(this.#folder, tenant === null ? NO_TENANT : TenantId.parse(tenant), `${Name.parse(name)}.json`)
  }
}

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}
