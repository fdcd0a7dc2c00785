import { open } from "lmdb"
import type { Database, RootDatabase } from "lmdb"
import { asBuffer } from "../../base/bytes.ts"
import { EkeyError } from "../../base/errors.ts"
import type { EkeyId } from "../../crypto/sealed-record.ts"
import { checkEkeyId, checkRecord, checkUser } from "./ekey-store.ts"
import type { EkeyStore, OutboxEntry, StoredEkey } from "./ekey-store.ts"
import { newStoreIdentity, parseStoreIdentity } from "./store-identity.ts"
import type { StoreIdentity } from "./store-identity.ts"
import { prepareVaultFiles } from "./vault-files.ts"

type Table = Database<Uint8Array, Uint8Array>

const BINARY = { encoding: "binary", keyEncoding: "binary" } as const
const IDENTITY_KEY = Buffer.from("identity")
const ROOT_KEY_KEY = Buffer.from("root-key")
/** Presence in the outbox is what counts; LMDB's bindings want some value. */
const PRESENT = Buffer.of(1)
const MAX_VERSION = 0xffffffff

/**
 * Opens the LMDB store in `folder`, or makes it there.
 * @throws EkeyError ERR_STORE_IDENTITY for another tenant's store, ERR_STORE_VERSION for a newer
 *   format, ERR_STORE_DAMAGED for a file that is none, ERR_FILE when other accounts can reach it,
 *   ERR_STORE for I/O faults.
 */
export async function openVault(options: { folder: string; tenant: string }): Promise<EkeyStore> {
  const path = await prepareVaultFiles(options.folder)
  const root = guard(() => open<Uint8Array, Uint8Array>({
    path,
    noSubdir: true,
    // By default lmdb-js resolves a write when it is visible and syncs it to the disk afterwards.
    overlappingSync: false,
    ...BINARY,
  }))
  try {
    return guard(() => {
      const meta = root.openDB<Uint8Array, Uint8Array>({ name: "meta", ...BINARY })
      // Before the other tables are touched: a newer format may not have them.
      const identity = identify(root, meta, options.tenant)
      const records = root.openDB<Uint8Array, Uint8Array>({ name: "ekeys", ...BINARY })
      const outbox = root.openDB<Uint8Array, Uint8Array>({ name: "outbox", ...BINARY })
      observeFailedCommits(root)
      return new Vault(identity, { root, meta, records, outbox })
    })
  } catch (error) {
    await root.close()
    throw error
  }
}

/** Reads the store's identity, or gives a new store one; in a transaction, as two processes may open it at once. */
function identify(root: RootDatabase, meta: Table, tenant: string): StoreIdentity {
  return root.transactionSync(() => {
    const stored = meta.getBinary(IDENTITY_KEY)
    if (stored) return parseStoreIdentity(stored.toString("utf8"), tenant)
    const identity = newStoreIdentity(tenant)
    meta.putSync(IDENTITY_KEY, Buffer.from(JSON.stringify(identity)))
    return identity
  })
}

/**
 * Writes go through `ifNoExists` and `batch` only: lmdb-js gathers those of one turn of the event
 * loop into one commit, in a thread of its own. Reads are synchronous inside: microseconds.
 */
class Vault implements EkeyStore {
  readonly tenant: string
  readonly storeId: string
  readonly #root: RootDatabase
  readonly #meta: Table
  readonly #records: Table
  readonly #outbox: Table
  #closed: Promise<void> | undefined

  constructor(identity: StoreIdentity, tables: { root: RootDatabase; meta: Table; records: Table; outbox: Table }) {
    this.tenant = identity.tenant
    this.storeId = identity.storeId
    this.#root = tables.root
    this.#meta = tables.meta
    this.#records = tables.records
    this.#outbox = tables.outbox
  }

  async bindRootKey(rootKeyId: Uint8Array): Promise<void> {
    this.#read(() => { this.#root.transactionSync(() => {
      const bound = this.#meta.getBinary(ROOT_KEY_KEY)
      if (bound?.equals(rootKeyId)) return
      if (entryCount(this.#records) > 0) throw new EkeyError("ERR_ROOT_KEY", "the store's ekeys are sealed under another root key")
      this.#meta.putSync(ROOT_KEY_KEY, Buffer.from(rootKeyId))
    }) })
  }

  async create(id: EkeyId, record: Uint8Array): Promise<void> {
    checkEkeyId(id)
    checkRecord(record)
    const key = encodeKey(id.user, id.version)
    // lmdb-js reads the bytes later, from its own thread: not from memory that the caller may reuse.
    const copy = Buffer.from(record)
    const created = await this.#write(() => this.#records.ifNoExists(key, () => {
      void this.#records.put(key, copy)
      void this.#outbox.put(key, PRESENT)
    }))
    if (!created) throw new EkeyError("ERR_EKEY_EXISTS", "that version of the ekey exists already")
  }

  async read(id: EkeyId): Promise<StoredEkey | null> {
    checkEkeyId(id)
    return this.#read(() => this.#get(encodeKey(id.user, id.version), id.version))
  }

  async readLatest(user: string): Promise<StoredEkey | null> {
    checkUser(user)
    return this.#read(() => {
      const newestFirst = { start: encodeKey(user, MAX_VERSION), end: encodeKey(user, 0), reverse: true, limit: 1 }
      for (const key of this.#records.getKeys(newestFirst)) return this.#get(key, decodeKey(key).version)
      return null
    })
  }

  async count(): Promise<number> {
    return this.#read(() => entryCount(this.#records))
  }

  async unacknowledged(limit: number, after?: EkeyId): Promise<readonly OutboxEntry[]> {
    if (after) checkEkeyId(after)
    const from = after ? { start: encodeKey(after.user, after.version), exclusiveStart: true } : {}
    return this.#read(() => {
      const entries: OutboxEntry[] = []
      for (const key of this.#outbox.getKeys({ ...from, limit })) {
        const record = this.#records.getBinary(key)
        if (!record) throw new EkeyError("ERR_STORE", "the store's outbox names a record that is not there")
        entries.push({ id: decodeKey(key), record })
      }
      return entries
    })
  }

  async acknowledge(ids: readonly EkeyId[]): Promise<void> {
    ids.forEach(checkEkeyId)
    if (ids.length === 0) return
    await this.#write(() => this.#outbox.batch(() => {
      for (const id of ids) void this.#outbox.remove(encodeKey(id.user, id.version))
    }))
  }

  close(): Promise<void> {
    this.#closed ??= this.#root.close()
    return this.#closed
  }

  #get(key: Uint8Array, version: number): StoredEkey | null {
    const record = this.#records.getBinary(key)
    return record ? { version, record, acknowledged: !this.#outbox.doesExist(key) } : null
  }

  #read<T>(act: () => T): T {
    if (this.#closed) throw new EkeyError("ERR_STORE", "the store is closed")
    return guard(act)
  }

  async #write(act: () => Promise<boolean>): Promise<boolean> {
    try {
      return await this.#read(act)
    } catch (error) {
      if (error instanceof EkeyError) throw error
      throw new EkeyError("ERR_STORE", "the store could not be written", { cause: await causeOf(error) })
    }
  }
}

/** user ‖ 0 ‖ version, so that a user's versions lie together in order; no user id contains a zero byte. */
function encodeKey(user: string, version: number): Buffer {
  const key = Buffer.allocUnsafe(user.length + 5)
  key.write(user, "latin1")
  key[user.length] = 0
  key.writeUInt32BE(version, user.length + 1)
  return key
}

function decodeKey(key: Uint8Array): EkeyId {
  const bytes = asBuffer(key)
  return { user: bytes.toString("latin1", 0, bytes.length - 5), version: bytes.readUInt32BE(bytes.length - 4) }
}

function entryCount(table: Table): number {
  const stats: { entryCount?: unknown } = table.getStats()
  if (typeof stats.entryCount !== "number") throw new EkeyError("ERR_STORE", "the store does not tell its size")
  return stats.entryCount
}

function guard<T>(act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (cause instanceof EkeyError) throw cause
    throw new EkeyError("ERR_STORE", "the store could not be read", { cause })
  }
}

const ignore = (): void => undefined

/**
 * When a commit fails lmdb-js also rejects a promise for the whole commit, which no caller has seen
 * and which would end the process. `committed` is that promise once the commit is queued; each
 * caller still gets its own rejection.
 */
function observeFailedCommits(root: RootDatabase): void {
  root.on("beforecommit", () => {
    queueMicrotask(() => { root.committed.then(ignore, ignore) })
  })
}

/** lmdb-js hides why a commit failed in a promise, rejected by now, that must be handled too. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && "commitError" in error && error.commitError instanceof Promise)) return error
  try {
    return await Promise.race([error.commitError, Promise.resolve(error)])
  } catch (cause) {
    return cause
  }
}
