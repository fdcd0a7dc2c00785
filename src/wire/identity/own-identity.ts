import type { LocalIdentity } from "./identity-folder.ts"

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

  onReplaced(listener: (identity: LocalIdentity) => void): void {
    this.#listeners.add(listener)
  }
}
