import { randomBytes } from "node:crypto"
import { z } from "zod"
import { toBase64url } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import { Id128, TenantId } from "../../wire/messages/scalars.ts"

/** Raised when a store's layout changes; a store of a higher format is refused. */
const FORMAT = 1

/** What a store says of itself, written once when it is made. */
const StoreIdentity = z.strictObject({
  format: z.literal(FORMAT),
  tenant: TenantId,
  storeId: Id128,
})
export type StoreIdentity = z.infer<typeof StoreIdentity>

/** Read before the rest: a newer format may have any other fields. */
const AnyFormat = z.looseObject({ format: z.int().min(1) })

export function newStoreIdentity(tenant: string): StoreIdentity {
  return { format: FORMAT, tenant, storeId: toBase64url(randomBytes(16)) }
}

/**
 * Reads the identity of the store being opened for `tenant`.
 * @throws EkeyError ERR_STORE_VERSION for a newer format, ERR_STORE_IDENTITY for another tenant's
 *   store and for what is no identity at all.
 */
export function parseStoreIdentity(text: string, tenant: string): StoreIdentity {
  const value = parseJson(text)
  const any = AnyFormat.safeParse(value)
  if (any.success && any.data.format > FORMAT) {
    throw new EkeyError("ERR_STORE_VERSION", `the store has format ${String(any.data.format)}, this version knows ${String(FORMAT)}`)
  }
  const identity = StoreIdentity.safeParse(value)
  if (!identity.success) throw new EkeyError("ERR_STORE_IDENTITY", "the store's identity can't be read", { cause: identity.error })
  if (identity.data.tenant !== tenant) throw new EkeyError("ERR_STORE_IDENTITY", "the store belongs to another tenant")
  return identity.data
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new EkeyError("ERR_STORE_IDENTITY", "the store's identity can't be read", { cause })
  }
}
