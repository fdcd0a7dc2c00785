import type { Clock } from "./clock.ts"
import { describeError } from "./errors.ts"
import type { Logger } from "./logger.ts"

interface Part {
  readonly name: string
  readonly stop: () => Promise<void> | void
}

/** Parts of a process, stopped in the reverse of the order in which they were started. */
export class Lifecycle {
  readonly #parts: Part[] = []
  readonly #clock: Clock
  readonly #log: Logger
  readonly #stopDeadlineMs: number
  #stopping: Promise<void> | undefined

  /** `stopDeadlineMs` bounds each part's stop, so that one stuck part can't keep the rest alive. */
  constructor(options: { clock: Clock; log: Logger; stopDeadlineMs: number }) {
    this.#clock = options.clock
    this.#log = options.log
    this.#stopDeadlineMs = options.stopDeadlineMs
  }

  /** Registers a started part. Call right after the part has started. */
  add(name: string, stop: () => Promise<void> | void): void {
    this.#parts.push({ name, stop })
  }

  /** Stops everything once; later calls wait for the first. Never rejects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll()
    return this.#stopping
  }

  async #stopAll(): Promise<void> {
    for (let part = this.#parts.pop(); part; part = this.#parts.pop()) {
      const { promise: expired, resolve } = Promise.withResolvers<"expired">()
      const cancel = this.#clock.after(this.#stopDeadlineMs, () => { resolve("expired") })
      try {
        const outcome = await Promise.race([Promise.resolve(part.stop()), expired])
        if (outcome === "expired") this.#log.warn("stop deadline passed", { part: part.name })
      } catch (error) {
        this.#log.warn("stop failed", { part: part.name, ...describeError(error) })
      } finally {
        cancel()
      }
    }
  }
}
