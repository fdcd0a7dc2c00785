import type { KeyObject } from "node:crypto"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import { testKey } from "./identities.ts"

/** An identity folder that touches no disk. Keys come from the pool of `testKey`, since making one takes long. */
export class MemoryIdentityFolder extends IdentityFolder {
  #identity: LocalIdentity | null = null
  #lists: readonly RevocationList[] = []
  readonly #keyIndex: number

  /** `keyIndex` is the pool's key that this folder's owner asks certificates for. */
  constructor(keyIndex: number) {
    super("/nowhere")
    this.#keyIndex = keyIndex
  }

  override async load(): Promise<LocalIdentity | null> {
    return this.#identity
  }

  override async save(identity: LocalIdentity): Promise<void> {
    this.#identity = identity
  }

  override pendingKey(): Promise<KeyObject> {
    return testKey(this.#keyIndex)
  }

  override async loadRevocations(): Promise<readonly RevocationList[]> {
    return this.#lists
  }

  override async saveRevocations(lists: readonly RevocationList[]): Promise<void> {
    this.#lists = lists
  }
}
