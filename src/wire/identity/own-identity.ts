import type { IdentityFolder, LocalIdentity } from "./identity-folder.ts"

/** Who this process is now: one place, so that a renewed certificate is used by everything at once. */
export class OwnIdentity {
  #current: LocalIdentity
  readonly #listeners = new Set<(identity: LocalIdentity) => void>()

  constructor(identity: LocalIdentity) {
    this.#current = identity
  }

  current(): LocalIdentity {
    return this.#current
  }

  replace(identity: LocalIdentity): void {
    this.#current = identity
    for (const listener of this.#listeners) listener(identity)
  }

  /**
   * Takes over what another process put into the folder meanwhile, as `enroll` does: a mended
   * identity works without a restart. The trust stays the one of the start.
   * @throws EkeyError ERR_FILE when the folder's identity can't be used; this one is kept.
   */
  async reload(folder: IdentityFolder): Promise<void> {
    const stored = await folder.load()
    if (stored && stored.serial !== this.#current.serial) this.replace(stored)
  }

  onReplaced(listener: (identity: LocalIdentity) => void): void {
    this.#listeners.add(listener)
  }
}
