import type { Clock } from "../../base/clock.ts"
import { describeError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import type { IdentityFolder } from "./identity-folder.ts"
import type { OwnIdentity } from "./own-identity.ts"
import { RevocationLists } from "./revocation.ts"

export interface KeptRevocationsOptions {
  readonly folder: IdentityFolder
  readonly own: OwnIdentity
  readonly clock: Clock
  readonly log: Logger
}

/** Revocation lists that start from those of the last run, so that nobody can go back to older ones. */
export async function openRevocations({ folder, own, clock, log }: KeptRevocationsOptions): Promise<RevocationLists> {
  const revocations = new RevocationLists({ trust: own.current().trust, clock })
  for (const list of await folder.loadRevocations()) revocations.apply(list)
  let saving = Promise.resolve()
  revocations.subscribe(() => {
    // One after the other: what is written last must be the newest.
    saving = saving
      .then(() => folder.saveRevocations(revocations.current()))
      .catch((error: unknown) => { log.error("revocation lists not kept", describeError(error)) })
  })
  return revocations
}
