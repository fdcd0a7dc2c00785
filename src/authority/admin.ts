import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { Name, TenantId } from "../wire/messages/scalars.ts"
import type { EnrolmentToken } from "../wire/identity/token.ts"
import { IssuedRecords } from "./issued.ts"
import type { IssuedRecord, IssuedTo } from "./issued.ts"
import { RevokedSerials } from "./revocations.ts"
import { openRoot, readPublishedRoots } from "./root.ts"
import type { AuthorityPlace } from "./root.ts"
import { TokenStore } from "./tokens.ts"

export type AdminPlace = AuthorityPlace & { readonly clock: Pick<Clock, "now"> }

/**
 * Makes a token for one name, good once and for one hour. Works on the authority's folder, whether
 * or not the authority is running: it reads tokens when they are used.
 * @throws EkeyError ERR_PARAMS if the name does not fit the role, ERR_AUTHORITY_ROOT while one of
 * the three roots to pin is missing.
 */
export async function mintToken(place: AdminPlace, to: IssuedTo): Promise<EnrolmentToken> {
  assertFits(place, to)
  // The published root first: this must not be what makes a root where there was none.
  const { pins } = await readPublishedRoots(place.folder, place.trustDomain)
  await openRoot(place, place.clock)
  const tokens = new TokenStore(place)
  await tokens.dropExpired(place.clock.now())
  return { ...await tokens.mint(to.tenant, to.name, place.clock.now()), pins }
}

/**
 * Revokes what a name holds: all its certificates and tokens, or one certificate and all that were
 * renewed from it, since whoever has its key could renew. Works on the authority's folder; the
 * running authority signs a new list when it is next asked for one. Idempotent.
 * @returns the serials that are revoked now.
 * @throws EkeyError ERR_PARAMS if no such certificate was issued here, or it has expired.
 */
export async function revoke(place: AdminPlace, what: IssuedTo | { readonly serial: string }): Promise<readonly string[]> {
  const issued = new IssuedRecords(place)
  if ("serial" in what) {
    const found = await issued.find(what.serial)
    if (!found) throw new EkeyError("ERR_PARAMS", "no certificate of that serial is known here")
    return await revokeAll(place, issued, found.to, (records) => withRenewals(records, what.serial))
  }
  assertFits(place, what)
  // Before the records are read: an enrolment under way looks for its token after its record is written.
  await new TokenStore(place).cancel(what.tenant, what.name)
  return await revokeAll(place, issued, what, (records) => records)
}

/** Reads the records again until nothing new has come: a renewal under way looks for revocations after its record is written. */
async function revokeAll(
  place: AdminPlace, issued: IssuedRecords, to: IssuedTo, choose: (records: readonly IssuedRecord[]) => readonly IssuedRecord[],
): Promise<readonly string[]> {
  const revoked = new RevokedSerials(place)
  const done = new Set<string>()
  for (;;) {
    const remaining = choose(await issued.of(to)).filter(({ serial }) => !done.has(serial))
    if (remaining.length === 0) return [...done]
    for (const { serial, notAfterMs } of remaining) {
      await revoked.add(serial, notAfterMs, place.clock.now())
      done.add(serial)
    }
  }
}

/** The record of `serial` and those renewed from it, directly or not. Records are oldest first. */
function withRenewals(records: readonly IssuedRecord[], serial: string): readonly IssuedRecord[] {
  const chain = new Set([serial])
  return records.filter((record) => {
    if ("renews" in record.basis && chain.has(record.basis.renews)) chain.add(record.serial)
    return chain.has(record.serial)
  })
}

function assertFits({ role }: AuthorityPlace, { tenant, name }: IssuedTo): void {
  if (!Name.safeParse(name).success) throw new EkeyError("ERR_PARAMS", "the name must be 1 to 63 of a-z, 0-9 and inner hyphens")
  if (role === "gateway" ? tenant !== null : !TenantId.safeParse(tenant).success) {
    throw new EkeyError("ERR_PARAMS", "a gateway has no tenant, and every other role has one of 1 to 63 of a-z, 0-9 and inner hyphens")
  }
}
