import { createServer } from "node:https"
import { systemClock, systemRandom } from "../../src/base/clock.ts"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import type { FrameSocket } from "../../src/wire/rpc/frame-socket.ts"
import { createUpgrader, openWebSocket, WebSocketFrames } from "../../src/wire/rpc/websocket.ts"
import { obeyParent, runWindow } from "./child.ts"
import { sampleFrames } from "./frames.ts"
import type { LoadOrder, StartOrder, Window } from "./orders.ts"

/**
 * One of the three processes of the raw relay: the least that three hops over this transport can be.
 * `near` sends frames of a request's size, `middle` passes them on unread, `far` answers each with a
 * frame of an answer's size. The first characters of a frame name the slot that it belongs to.
 */
const SLOT_CHARACTERS = 8
const NEAR_PATH = "/near"
const FAR_PATH = "/far"
const NO_END = { onClose: () => { process.exit() } }

const role = process.argv[2]
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
  return new WebSocketFrames({ socket, stream, clock: systemClock, random: systemRandom, heartbeat: "ping" })
}

/** @returns the port on which both ends are waited for. */
async function passOn({ certificatePem, keyPem }: LocalIdentity): Promise<number> {
  const upgrade = createUpgrader()
  const ends = new Map<string | undefined, FrameSocket>()
  const server = createServer({ cert: certificatePem, key: keyPem, minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: false })
  server.on("upgrade", (request, stream, head) => {
    void upgrade(request, stream, head).then((socket) => {
      ends.set(request.url, new WebSocketFrames({ socket, stream, clock: systemClock, random: systemRandom, heartbeat: "expect" }))
      const [a, b] = [ends.get(NEAR_PATH), ends.get(FAR_PATH)]
      if (!a || !b) return
      a.listen({ ...NO_END, onText: (text) => { b.send(text) } })
      b.listen({ ...NO_END, onText: (text) => { a.send(text) } })
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
  socket.listen({ ...NO_END, onText: (text) => { socket.send(text.slice(0, SLOT_CHARACTERS) + rest) } })
}

/** Keeps the load up without a promise or a closure for each request. */
class NearEnd {
  readonly #socket: FrameSocket
  #onAnswer: (slot: number) => void = () => undefined

  constructor(socket: FrameSocket) {
    this.#socket = socket
    socket.listen({ ...NO_END, onText: (text) => { this.#onAnswer(Number(text.slice(0, SLOT_CHARACTERS))) } })
  }

  async load(order: LoadOrder): Promise<Window> {
    const frames = Array.from({ length: order.inFlight }, (_, slot) => Buffer.from(String(slot).padStart(SLOT_CHARACTERS, "0") + request.slice(SLOT_CHARACTERS)).toString())
    const sentAtMs = new Float64Array(order.inFlight)
    return await runWindow(order, (isOver, answered) => {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      let running = order.inFlight
      const ask = (slot: number, nowMs: number): void => {
        sentAtMs[slot] = nowMs
        this.#socket.send(frames[slot] ?? "")
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
