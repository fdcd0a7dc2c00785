import { createServer } from "node:https"
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import { systemClock, systemRandom } from "../../src/base/clock.ts"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import type { FrameSocket, FrameSocketEvents } from "../../src/wire/rpc/frame-socket.ts"
import { createUpgrader, openWebSocket, WebSocketFrames } from "../../src/wire/rpc/websocket.ts"
import { obeyParent, runWindow } from "./child.ts"
import { sampleFrames } from "./frames.ts"
import type { LoadOrder, StartOrder, Window } from "./orders.ts"

/**
 * One of the three processes of a relay of frames of the releases' size: `near` asks, `middle` passes
 * on, `far` answers. Two kinds:
 *
 * - `json`, the raw relay: JSON over plain ws. Each process parses each frame and writes it anew, as
 *   whoever routes JSON-RPC has to, and sends it by itself.
 * - `pipe`, the least that three hops can be: finished texts over the product's batching transport,
 *   parsed by nobody. The first characters of a frame name the slot that it belongs to.
 */
const SLOT_CHARACTERS = 8
/** Ids of as many digits as the releases' own. */
const JSON_ID_BASE = 100_000
const NEAR_PATH = "/near"
const FAR_PATH = "/far"
const NO_END = { onClose: () => { process.exit() } }

const role = process.argv[2]
const isJson = process.argv[3] === "json"
const { request, reply } = sampleFrames()
let near: NearEnd | undefined

obeyParent(async (order) => {
  if (order.do === "load") return await near?.load(order)
  const identity = await new IdentityFolder(order.identity).load()
  if (!identity) throw new Error("there is no identity to show")
  switch (role) {
    case "near":
      near = new NearEnd(await dial(order, identity, NEAR_PATH))
      return undefined
    case "middle":
      return await passOn(identity)
    case "far":
      answerAll(await dial(order, identity, FAR_PATH))
      return undefined
    default:
      throw new Error("near, middle or far?")
  }
})

async function dial({ port }: StartOrder, identity: LocalIdentity, path: string): Promise<FrameSocket> {
  const stream = await connectTls({ host: "127.0.0.1", port }, identity, new AbortController().signal)
  const socket = await openWebSocket(stream, path, "127.0.0.1")
  return transport(socket, stream, "ping")
}

function transport(socket: WebSocket, stream: Duplex, heartbeat: "ping" | "expect"): FrameSocket {
  return isJson ? new PlainFrames(socket) : new WebSocketFrames({ socket, stream, clock: systemClock, random: systemRandom, heartbeat })
}

/** ws as it is: each frame leaves by itself. */
class PlainFrames implements FrameSocket {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  send(text: string): void {
    this.#socket.send(text)
  }

  close(): void {
    this.#socket.close()
  }

  listen(events: FrameSocketEvents): void {
    this.#socket.on("message", (data: Buffer) => { events.onText(data.toString("utf8")) })
    this.#socket.once("close", () => { events.onClose(1000, "") })
  }
}

interface JsonFrame { readonly id: number; readonly params?: unknown; readonly result?: unknown }

/** Trusting, as the relay is: its ends are ours. */
function readFrame(text: string): JsonFrame {
  return JSON.parse(text) as JsonFrame
}

/** A frame parsed and written anew; the raw relay's whole work. */
function rewrite(text: string): string {
  return isJson ? JSON.stringify(JSON.parse(text)) : text
}

/** @returns the port on which both ends are waited for. */
async function passOn({ certificatePem, keyPem }: LocalIdentity): Promise<number> {
  const upgrade = createUpgrader()
  const ends = new Map<string | undefined, FrameSocket>()
  const server = createServer({ cert: certificatePem, key: keyPem, minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: false })
  server.on("upgrade", (request, stream, head) => {
    void upgrade(request, stream, head).then((socket) => {
      ends.set(request.url, transport(socket, stream, "expect"))
      const [a, b] = [ends.get(NEAR_PATH), ends.get(FAR_PATH)]
      if (!a || !b) return
      a.listen({ ...NO_END, onText: (text) => { b.send(rewrite(text)) } })
      b.listen({ ...NO_END, onText: (text) => { a.send(rewrite(text)) } })
    })
  })
  const { promise, resolve } = Promise.withResolvers<undefined>()
  server.listen(0, "127.0.0.1", () => { resolve(undefined) })
  await promise
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

function answerAll(socket: FrameSocket): void {
  const rest = reply.slice(SLOT_CHARACTERS)
  const { result } = readFrame(reply)
  const answer = isJson
    ? (text: string): string => JSON.stringify({ jsonrpc: "2.0", id: readFrame(text).id, result })
    : (text: string): string => text.slice(0, SLOT_CHARACTERS) + rest
  socket.listen({ ...NO_END, onText: (text) => { socket.send(answer(text)) } })
}

function slotOf(text: string): number {
  if (!isJson) return Number(text.slice(0, SLOT_CHARACTERS))
  return readFrame(text).id - JSON_ID_BASE
}

/** Keeps the load up without a promise or a closure for each request. */
class NearEnd {
  readonly #socket: FrameSocket
  #onAnswer: (slot: number) => void = () => undefined

  constructor(socket: FrameSocket) {
    this.#socket = socket
    socket.listen({ ...NO_END, onText: (text) => { this.#onAnswer(slotOf(text)) } })
  }

  async load(order: LoadOrder): Promise<Window> {
    const { params } = readFrame(request)
    const frames = Array.from({ length: order.inFlight }, (_, slot) => Buffer.from(String(slot).padStart(SLOT_CHARACTERS, "0") + request.slice(SLOT_CHARACTERS)).toString())
    const frameOf = isJson
      ? (slot: number): string => JSON.stringify({ jsonrpc: "2.0", id: JSON_ID_BASE + slot, method: "ekey.release", params })
      : (slot: number): string => frames[slot] ?? ""
    const sentAtMs = new Float64Array(order.inFlight)
    return await runWindow(order, (isOver, answered) => {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      let running = order.inFlight
      const ask = (slot: number, nowMs: number): void => {
        sentAtMs[slot] = nowMs
        this.#socket.send(frameOf(slot))
      }
      this.#onAnswer = (slot) => {
        const nowMs = systemClock.monotonicMs()
        if (isOver(nowMs)) {
          running -= 1
          if (running === 0) resolve(undefined)
          return
        }
        answered(nowMs - (sentAtMs[slot] ?? 0))
        ask(slot, nowMs)
      }
      const nowMs = systemClock.monotonicMs()
      for (let slot = 0; slot < order.inFlight; slot++) ask(slot, nowMs)
      return promise
    })
  }
}
