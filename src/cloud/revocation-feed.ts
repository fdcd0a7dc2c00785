import type { Clock } from "../base/clock.ts"
import { describeError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { ROLES } from "../wire/identity/spiffe.ts"
import type { Authorities } from "./authorities.ts"
import type { Registry } from "./registry.ts"

const POLL_EVERY_MS = 5_000
const ASK_WITHIN_MS = 5_000

export interface RevocationFeedOptions {
  readonly authorities: Authorities
  readonly revocations: RevocationLists
  /** Who is told of every newer list. */
  readonly registries: readonly Registry[]
  readonly clock: Clock
  readonly log: Logger
}

/** Fetches the authorities' signed revocation lists and passes newer ones on. Whoever gets one checks it himself. */
export class RevocationFeed {
  readonly #options: RevocationFeedOptions

  constructor(options: RevocationFeedOptions) {
    this.#options = options
    options.revocations.subscribe((role) => { this.#passOn(role) })
  }

  /** Asks every authority once. One that does not answer is logged: its last list holds until it is stale. */
  async refresh(): Promise<void> {
    const { authorities, revocations, log } = this.#options
    await Promise.all(ROLES.map(async (role) => {
      try {
        const { list } = await (await authorities.peer(role)).call("revocation.current", {}, ASK_WITHIN_MS)
        revocations.apply(list)
      } catch (error) {
        log.warn("revocation list not refreshed", { role, ...describeError(error) })
      }
    }))
  }

  /** Polls until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      await this.refresh()
      await clock.sleep(POLL_EVERY_MS, signal).catch(() => undefined) // Aborted: the loop condition ends it.
    }
  }

  #passOn(role: string): void {
    const { revocations, registries, log } = this.#options
    const lists = revocations.current().filter((list) => list.role === role)
    for (const member of registries.flatMap((registry) => registry.all())) {
      member.peer.call("revocation.update", { revocations: lists }, ASK_WITHIN_MS).catch((error: unknown) => {
        log.warn("revocation list not passed on", { peer: member.name, ...describeError(error) })
      })
    }
  }
}
