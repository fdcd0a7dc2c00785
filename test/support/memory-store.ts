import { EkeyError } from "../../src/base/errors.ts"
import { checkEkeyId, checkRecord, checkUser } from "../../src/connector/store/ekey-store.ts"
import type { EkeyId, EkeyStore, OutboxEntry, StoredEkey } from "../../src/connector/store/ekey-store.ts"
import { newStoreIdentity, parseStoreIdentity } from "../../src/connector/store/store-identity.ts"

/** What outlives a memory store, as a disk outlives a process. */
export interface MemoryDisk {
  identity: string | undefined
  rootKeyId: Buffer | undefined
  readonly records: Map<string, { readonly id: EkeyId; readonly record: Buffer }>
  readonly outbox: Set<string>
}

export function newMemoryDisk(): MemoryDisk {
  return { identity: undefined, rootKeyId: undefined, records: new Map(), outbox: new Set() }
}

/** An `EkeyStore` in memory, under the same contract as the others. */
export class MemoryStore implements EkeyStore {
  readonly tenant: string
  readonly storeId: string
  readonly #disk: MemoryDisk
  #open = true

  constructor(tenant: string, disk: MemoryDisk = newMemoryDisk()) {
    disk.identity ??= JSON.stringify(newStoreIdentity(tenant))
    const identity = parseStoreIdentity(disk.identity, tenant)
    this.tenant = identity.tenant
    this.storeId = identity.storeId
    this.#disk = disk
  }

  async bindRootKey(rootKeyId: Uint8Array): Promise<void> {
    const disk = this.#use()
    if (disk.rootKeyId?.equals(rootKeyId)) return
    if (disk.records.size > 0) throw new EkeyError("ERR_ROOT_KEY", "the store's ekeys are sealed under another root key")
    disk.rootKeyId = Buffer.from(rootKeyId)
  }

  async create(id: EkeyId, record: Uint8Array): Promise<void> {
    checkEkeyId(id)
    checkRecord(record)
    const { records, outbox } = this.#use()
    const key = keyOf(id)
    if (records.has(key)) throw new EkeyError("ERR_EKEY_EXISTS", "that version of the ekey exists already")
    records.set(key, { id: { user: id.user, version: id.version }, record: Buffer.from(record) })
    outbox.add(key)
  }

  async read(id: EkeyId): Promise<StoredEkey | null> {
    checkEkeyId(id)
    return this.#get(keyOf(id))
  }

  async readLatest(user: string): Promise<StoredEkey | null> {
    checkUser(user)
    const newest = [...this.#use().records.values()]
      .filter(({ id }) => id.user === user)
      .sort((a, b) => b.id.version - a.id.version)[0]
    return newest ? this.#get(keyOf(newest.id)) : null
  }

  async count(): Promise<number> {
    return this.#use().records.size
  }

  async unacknowledged(limit: number, after?: EkeyId): Promise<readonly OutboxEntry[]> {
    if (after) checkEkeyId(after)
    const { records, outbox } = this.#use()
    return [...outbox].sort()
      .filter((key) => after === undefined || key > keyOf(after))
      .slice(0, limit)
      .flatMap((key) => {
        const stored = records.get(key)
        return stored ? [{ id: stored.id, record: Buffer.from(stored.record) }] : []
      })
  }

  async acknowledge(ids: readonly EkeyId[]): Promise<void> {
    ids.forEach(checkEkeyId)
    const { outbox } = this.#use()
    for (const id of ids) outbox.delete(keyOf(id))
  }

  async close(): Promise<void> {
    this.#open = false
  }

  #use(): MemoryDisk {
    if (!this.#open) throw new EkeyError("ERR_STORE", "the store is closed")
    return this.#disk
  }

  #get(key: string): StoredEkey | null {
    const { records, outbox } = this.#use()
    const stored = records.get(key)
    return stored ? { version: stored.id.version, record: Buffer.from(stored.record), acknowledged: !outbox.has(key) } : null
  }
}

/** Sorts by user, then version. */
function keyOf(id: EkeyId): string {
  return `${id.user}\0${id.version.toString(16).padStart(8, "0")}`
}
