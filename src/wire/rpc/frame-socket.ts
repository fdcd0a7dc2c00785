/** A connection that carries text frames in order. The one production adapter is `websocket.ts`. */
export interface FrameSocket {
  /** Queues a frame. Frames after the end of the connection are dropped. */
  send(text: string): void
  /** Ends the connection with a close code; idempotent. */
  close(code: number, reason: string): void
  /** Sets the receivers; called once, before any frame is delivered. */
  listen(events: FrameSocketEvents): void
}

export interface FrameSocketEvents {
  onText(text: string): void
  /** Called exactly once, whichever end closed. */
  onClose(code: number, reason: string): void
}
