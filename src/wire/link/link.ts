import type { Clock } from "../../base/clock.ts"
import { codeOf, describeError, EkeyError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import { CLOSE_CODES } from "../limits.ts"
import { INITIAL, nextState, STABLE_AFTER_MS, waitMs } from "./link-state.ts"
import type { LinkEvent, LinkState } from "./link-state.ts"

/** A greeted connection, as far as the link cares. */
export interface LinkPeer {
  readonly closed: Promise<{ code: number; reason: string }>
  close(code: number, reason: string): void
}

export interface LinkOptions<P extends LinkPeer> {
  /** Connects, judges the other end and greets it. Rejects with an EkeyError. */
  readonly dial: (signal: AbortSignal) => Promise<P>
  /** Called for each link that is ready, before `ready` resolves. */
  readonly onReady?: (peer: P) => void
  readonly clock: Clock
  /** Returns [0, 1). */
  readonly random: () => number
  readonly log: Logger
}

/** Keeps one connection to the gateway for ever: the driver of `link-state.ts`, without decisions of its own. */
export class Link<P extends LinkPeer> {
  readonly #options: LinkOptions<P>
  #state: LinkState = INITIAL
  #peer: P | undefined
  readonly #waiting = new Set<PromiseWithResolvers<P>>()
  /** Why the last dial failed: what those who wait in vain are told. */
  #lastFailure: EkeyError | undefined

  constructor(options: LinkOptions<P>) {
    this.#options = options
  }

  /** The live connection, if there is one. */
  get peer(): P | undefined {
    return this.#peer
  }

  /**
   * The live connection, waited for at most `withinMs`.
   * @throws EkeyError for which the last dial failed, or ERR_UNREACHABLE.
   */
  async ready(withinMs: number): Promise<P> {
    if (this.#peer) return this.#peer
    if (this.#state.at === "stopped") throw new EkeyError("ERR_UNREACHABLE", "the link was stopped")
    const waiting = Promise.withResolvers<P>()
    this.#waiting.add(waiting)
    const cancel = this.#options.clock.after(withinMs, () => { waiting.reject(this.#lastFailure ?? new EkeyError("ERR_UNREACHABLE", "no link to the gateway")) })
    try {
      return await waiting.promise
    } finally {
      cancel()
      this.#waiting.delete(waiting)
    }
  }

  /** Runs until the signal; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.#move({ type: "stop" })
      this.#peer?.close(CLOSE_CODES.goingAway, "shutting down")
      // Nobody will be served any more: who waits must not hold up the stop.
      for (const { reject } of this.#waiting) reject(new EkeyError("ERR_UNREACHABLE", "the link was stopped"))
    }
    signal.addEventListener("abort", stop, { once: true })
    if (signal.aborted) stop()
    while (this.#state.at !== "stopped") await this.#step(this.#state, signal)
    signal.removeEventListener("abort", stop)
  }

  async #step(state: LinkState, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options
    switch (state.at) {
      case "waiting": {
        const delayMs = waitMs(state, random)
        log.debug("link waits", { delayMs, attempt: state.attempt, because: state.because })
        await clock.sleep(delayMs, signal).catch(() => undefined) // Aborted: the state is "stopped" then.
        this.#move({ type: "due" })
        return
      }
      case "dialing":
        await this.#dial(signal)
        return
      case "ready":
        await this.#live()
        return
      case "stopped":
        return
      default:
        state satisfies never
    }
  }

  async #dial(signal: AbortSignal): Promise<void> {
    const { dial, onReady, log } = this.#options
    try {
      const peer = await dial(signal)
      if (signal.aborted) {
        peer.close(CLOSE_CODES.goingAway, "shutting down")
        return
      }
      this.#peer = peer
      this.#lastFailure = undefined
      this.#move({ type: "opened" })
      onReady?.(peer)
      for (const { resolve } of this.#waiting) resolve(peer)
    } catch (error) {
      if (signal.aborted) return
      this.#lastFailure = error instanceof EkeyError ? error : undefined
      const rejected = isRejection(error)
      log.warn(rejected ? "link rejected" : "link failed", describeError(error))
      this.#move({ type: "failed", rejected })
    }
  }

  async #live(): Promise<void> {
    const { clock, log } = this.#options
    const sinceMs = clock.monotonicMs()
    const end = await this.#peer?.closed
    this.#peer = undefined
    const stable = clock.monotonicMs() - sinceMs >= STABLE_AFTER_MS
    if (this.#state.at !== "stopped") log.warn("link lost", { closeCode: end?.code, reason: end?.reason, stable })
    this.#move({ type: "lost", stable })
  }

  #move(event: LinkEvent): void {
    if (this.#state.at !== "stopped") this.#state = nextState(this.#state, event)
  }
}

/** Whether dialling again soon is pointless: one end does not accept the other's identity or version. */
function isRejection(error: unknown): boolean {
  const code = codeOf(error)
  return code !== undefined && (code.startsWith("ERR_CERT_") || code === "ERR_VERSION")
}
