import { toBase64url } from "../base/bytes.ts"
import { codeOf, describeError, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import type { EkeyId, EkeyStore, OutboxEntry } from "./store/ekey-store.ts"

/** Records in one `records.put`. */
const BATCH = 500
const PUT_WITHIN_MS = 10_000

export interface BlindCopiesOptions {
  readonly store: EkeyStore
  /** The live link, if there is one. */
  readonly peer: () => WirePeer | undefined
  readonly log: Logger
}

/**
 * The second place: every sealed record goes to the cloud as well, which can't open it. What the
 * cloud has not acknowledged stays in the store's outbox, across restarts.
 */
export class BlindCopies {
  readonly #options: BlindCopiesOptions
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(options: BlindCopiesOptions) {
    this.#options = options
  }

  /**
   * Sends everything that is in the outbox now. Concurrent calls share round trips. A record that
   * the cloud refuses stays in the outbox and holds up no other.
   * @throws EkeyError ERR_NOT_DURABLE when the cloud can't be reached or can't store.
   */
  async flush(): Promise<void> {
    // A round under way may have passed the newest entry already: wait for the one after it.
    this.#next ??= this.#startAfter(this.#running)
    await this.#next
  }

  async #startAfter(running: Promise<void> | undefined): Promise<void> {
    await running?.catch(() => undefined) // Its callers were told.
    this.#next = undefined
    this.#running = this.#sendAll()
    await this.#running
  }

  async #sendAll(): Promise<void> {
    let after: EkeyId | undefined
    for (;;) {
      const batch = await this.#options.store.unacknowledged(BATCH, after)
      if (batch.length === 0) return
      await this.#sendOrSplit(batch)
      after = batch.at(-1)?.id
    }
  }

  /** One record that the cloud refuses makes it refuse the batch: then each goes alone. */
  async #sendOrSplit(batch: readonly OutboxEntry[]): Promise<void> {
    const { log } = this.#options
    try {
      await this.#send(batch)
    } catch (cause) {
      if (codeOf(cause) !== "ERR_RECORD_CONFLICT") throw new EkeyError("ERR_NOT_DURABLE", "the cloud did not store the second copy", { cause })
      if (batch.length === 1) {
        log.error("alarm", { kind: "record conflict", user: batch[0]?.id.user, version: batch[0]?.id.version, ...describeError(cause) })
        return
      }
      for (const entry of batch) await this.#sendOrSplit([entry])
    }
  }

  async #send(batch: readonly OutboxEntry[]): Promise<void> {
    const { store, peer } = this.#options
    const live = peer()
    if (!live) throw new EkeyError("ERR_LINK_LOST", "there is no link")
    await live.call("records.put", { records: batch.map(({ id, record }) => ({ user: id.user, version: id.version, record: toBase64url(record) })) }, PUT_WITHIN_MS)
    await store.acknowledge(batch.map(({ id }) => id))
  }
}
