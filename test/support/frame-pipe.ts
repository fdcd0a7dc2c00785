import { setImmediate as nextTurn } from "node:timers/promises"
import type { FrameSocket, FrameSocketEvents } from "../../src/wire/rpc/frame-socket.ts"

/** One end of a connection in memory: a `FrameSocket` for a peer, and raw frames for a test. */
export class PipeEnd implements FrameSocket {
  /** What the other end sent before anybody listened here. */
  readonly #early: string[] = []
  #events: FrameSocketEvents | undefined
  #other: PipeEnd | undefined
  #open = true

  static pair(): [PipeEnd, PipeEnd] {
    const ends: [PipeEnd, PipeEnd] = [new PipeEnd(), new PipeEnd()]
    ends[0].#other = ends[1]
    ends[1].#other = ends[0]
    return ends
  }

  send(text: string): void {
    if (!this.#open) return
    const other = this.#other
    queueMicrotask(() => { if (other) other.#deliver(text) })
  }

  close(code: number, reason: string): void {
    if (!this.#open) return
    const other = this.#other
    // As on a wire: what was sent before arrives before.
    queueMicrotask(() => {
      this.#end(code, reason)
      if (other) other.#end(code, reason)
    })
  }

  listen(events: FrameSocketEvents): void {
    this.#events = events
    for (const text of this.#early.splice(0)) events.onText(text)
  }

  #deliver(text: string): void {
    if (!this.#open) return
    if (this.#events) this.#events.onText(text)
    else this.#early.push(text)
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#events?.onClose(code, reason)
  }
}

/** A test's end of a pipe: sends any text as a frame, and keeps what comes back. */
export class RawEnd {
  readonly received: string[] = []
  closed: { code: number; reason: string } | undefined
  readonly #end: PipeEnd

  constructor(end: PipeEnd) {
    this.#end = end
    end.listen({
      onText: (text) => { this.received.push(text) },
      onClose: (code, reason) => { this.closed = { code, reason } },
    })
  }

  /** Sends text as it is; anything else as JSON. */
  async send(frame: unknown): Promise<void> {
    this.#end.send(typeof frame === "string" ? frame : JSON.stringify(frame))
    await nextTurn()
  }

  /** The frames that came since the last call, parsed. */
  take(): unknown[] {
    return this.received.splice(0).map((text): unknown => JSON.parse(text))
  }
}
