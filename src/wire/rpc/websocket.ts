import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocket, WebSocketServer } from "ws"
import type { RawData } from "ws"
import { jitterMs } from "../../base/backoff.ts"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { CLOSE_CODES, MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, PING_EVERY_MS, PONG_WITHIN_MS, SILENT_AFTER_MS, SUBPROTOCOL } from "../limits.ts"
import type { FrameSocket, FrameSocketEvents } from "./frame-socket.ts"

/** `skipUTF8Validation` stays off: ws ends a connection with 1007 for bad UTF-8 and 1009 for oversize. */
const OPTIONS = { maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false } as const

/** Frames wait for others of the same turn of the event loop until they are about so many bytes together. */
const BATCH_BYTES = 8 * 1024

/** Waits for the other end's close frame no longer than this before the connection is cut. */
const CLOSE_WITHIN_MS = 2_000

/**
 * Opens a WebSocket over a connection that is already made and judged (TLS or a local socket).
 * Aborting destroys the connection: an end that never answers the handshake holds nobody up.
 * @throws EkeyError ERR_UNREACHABLE with the refusal's HTTP status, or ERR_VERSION for another subprotocol.
 */
export async function openWebSocket(stream: Socket, path: string, host: string, signal?: AbortSignal): Promise<WebSocket> {
  // The agent is off and the connection given: ws must not dial by itself.
  const socket = new WebSocket(`ws://${host}${path}`, SUBPROTOCOL, { ...OPTIONS, createConnection: () => stream })
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>()
  socket.once("open", () => { resolve(socket) })
  socket.once("unexpected-response", (request, response) => {
    reject(readRefusal(response))
    request.destroy()
  })
  socket.on("error", (cause) => { reject(new EkeyError("ERR_UNREACHABLE", "the WebSocket handshake failed", { cause })) })
  const abort = (): void => { stream.destroy(new Error("connecting took too long or was given up")) }
  signal?.addEventListener("abort", abort, { once: true })
  if (signal?.aborted) abort()
  try {
    return await promise
  } finally {
    signal?.removeEventListener("abort", abort)
  }
}

/** A gateway refuses an upgrade with its error code in a header, so that the client's log can name it. */
function readRefusal(response: IncomingMessage): EkeyError {
  const code = response.headers[REFUSAL_HEADER]
  const known = REFUSALS.find((refusal) => refusal === code)
  return known === undefined
    ? new EkeyError("ERR_UNREACHABLE", `the gateway answered HTTP ${String(response.statusCode)}`)
    : new EkeyError(known, "the gateway refused this end")
}

/** The response header that carries the error code of a refused upgrade. */
export const REFUSAL_HEADER = "x-ekey-error"

/** What a gateway may say when it refuses an upgrade; anything else is taken for an outage. */
const REFUSALS = [
  "ERR_CERT_MISSING", "ERR_CERT_EXPIRED", "ERR_CERT_NOT_YET_VALID", "ERR_CERT_SELF_SIGNED", "ERR_CERT_AUTHORITY",
  "ERR_CERT_ROLE", "ERR_CERT_TENANT", "ERR_CERT_REVOKED", "ERR_CERT_MALFORMED", "ERR_REVOCATION_STALE", "ERR_VERSION", "ERR_DRAINING",
] as const

/** Answers upgrades. One for a whole listener; it holds no connection itself. */
export function createUpgrader(): (request: IncomingMessage, stream: Duplex, head: Buffer) => Promise<WebSocket> {
  const server = new WebSocketServer({ ...OPTIONS, noServer: true, clientTracking: false, handleProtocols: () => SUBPROTOCOL })
  return (request, stream, head) => {
    const { promise, resolve } = Promise.withResolvers<WebSocket>()
    server.handleUpgrade(request, stream, head, resolve)
    return promise
  }
}

/** Whether an upgrade request offers this protocol version. */
export function offersSubprotocol(request: IncomingMessage): boolean {
  return request.headers["sec-websocket-protocol"]?.split(",").some((name) => name.trim() === SUBPROTOCOL) ?? false
}

export interface WebSocketFrameOptions {
  readonly socket: WebSocket
  /** The connection under the WebSocket, for batching. */
  readonly stream: Duplex
  readonly clock: Clock
  readonly random: () => number
  /** The dialling end pings; the listening end gives up a silent link. */
  readonly heartbeat: "ping" | "expect" | "none"
}

/** The `FrameSocket` over ws. */
export class WebSocketFrames implements FrameSocket {
  readonly #socket: WebSocket
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #random: () => number
  #turnFrames = 0
  #lastTurnFrames = 0
  #batchedBytes = 0
  #lastHeardMs: number
  #cancelHeartbeat: () => void = () => undefined

  constructor(options: WebSocketFrameOptions) {
    this.#socket = options.socket
    this.#stream = options.stream
    this.#clock = options.clock
    this.#random = options.random
    this.#lastHeardMs = options.clock.monotonicMs()
    if (options.heartbeat === "ping") this.#schedulePing()
    if (options.heartbeat === "expect") this.#scheduleSilenceCheck()
  }

  send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.close(CLOSE_CODES.unresponsive, "reads slower than it asks")
      return
    }
    // Frames of one turn of the event loop share TLS records and system calls. A frame that was the
    // only one of its turn last time has nobody to wait for, and leaves at once.
    const isFirst = this.#turnFrames === 0
    this.#turnFrames += 1
    if (isFirst) {
      const leavesAtOnce = this.#lastTurnFrames <= 1
      if (leavesAtOnce) this.#socket.send(text)
      this.#batchedBytes = 0
      this.#stream.cork()
      setImmediate(() => {
        this.#lastTurnFrames = this.#turnFrames
        this.#turnFrames = 0
        this.#stream.uncork()
      })
      if (leavesAtOnce) return
    }
    this.#socket.send(text)
    this.#batchedBytes += text.length
    if (this.#batchedBytes < BATCH_BYTES) return
    // A long turn passes on what it has, so that the other end works meanwhile.
    this.#batchedBytes = 0
    this.#stream.uncork()
    this.#stream.cork()
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState >= WebSocket.CLOSING) return
    this.#socket.close(code, reason)
    const cancel = this.#clock.after(CLOSE_WITHIN_MS, () => { this.#socket.terminate() })
    this.#socket.once("close", cancel)
  }

  listen(events: FrameSocketEvents): void {
    const heard = (): void => { this.#lastHeardMs = this.#clock.monotonicMs() }
    this.#socket.on("message", (data: RawData, isBinary: boolean) => {
      this.#lastHeardMs = this.#clock.monotonicMs()
      if (isBinary || !Buffer.isBuffer(data)) {
        // RFC 6455 section 7.4.1: 1003, a type of data that this end can't accept.
        this.close(1003, "text frames only")
        return
      }
      events.onText(data.toString("utf8"))
    })
    this.#socket.on("ping", heard)
    this.#socket.on("pong", heard)
    // ws closes the connection itself after an error, with the right close code; the close event tells.
    this.#socket.on("error", () => undefined)
    this.#socket.once("close", (code, reason) => {
      this.#cancelHeartbeat()
      events.onClose(code, reason.toString("utf8"))
    })
  }

  #schedulePing(): void {
    this.#cancelHeartbeat = this.#clock.after(jitterMs(PING_EVERY_MS, 0.1, this.#random), () => {
      if (this.#socket.readyState !== WebSocket.OPEN) return
      const pingedMs = this.#clock.monotonicMs()
      this.#socket.ping()
      this.#cancelHeartbeat = this.#clock.after(PONG_WITHIN_MS, () => {
        if (this.#lastHeardMs < pingedMs) this.#socket.terminate()
        else this.#schedulePing()
      })
    })
  }

  #scheduleSilenceCheck(): void {
    const leftMs = this.#lastHeardMs + SILENT_AFTER_MS - this.#clock.monotonicMs()
    if (leftMs <= 0) {
      this.#socket.terminate()
      return
    }
    this.#cancelHeartbeat = this.#clock.after(leftMs, () => { this.#scheduleSilenceCheck() })
  }
}
