import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import { connect } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import { createUpgrader, openWebSocket, WebSocketFrames } from "../../../src/wire/rpc/websocket.ts"
import { FakeClock } from "../../support/fake-clock.ts"

const KIB = 1024

describe("frames of one turn of the event loop", () => {
  const server = createServer()
  let stream: Socket
  let frames: WebSocketFrames
  let heard: Promise<string[]>

  beforeEach(async () => {
    const upgrade = createUpgrader()
    const { promise, resolve } = Promise.withResolvers<string[]>()
    heard = promise
    server.once("upgrade", (request, upgraded, head) => {
      void upgrade(request, upgraded, head).then((socket) => {
        const texts: string[] = []
        socket.on("message", (data: Buffer) => { texts.push(data.toString()) })
        socket.once("close", () => { resolve(texts) })
      })
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    stream = connect((server.address() as AddressInfo).port, "127.0.0.1")
    await once(stream, "connect")
    const socket = await openWebSocket(stream, "/", "localhost")
    frames = new WebSocketFrames({ socket, stream, clock: new FakeClock(), random: () => 0, heartbeat: "none" })
  })
  afterEach(async () => {
    stream.destroy()
    server.close()
    server.closeAllConnections()
    await once(server, "close")
  })

  it("wait for each other while they are few, and leave at its end", async () => {
    for (let turn = 0; turn < 2; turn++) {
      for (let index = 0; index < 5; index++) frames.send("x".repeat(100))
      // In the first turn nobody knew that others would follow the first.
      assert.ok(stream.writableLength > (turn === 0 ? 400 : 500))
      await nextTurn()
      await nextTurn()
      assert.equal(stream.writableLength, 0)
    }
  })

  it("leave at once when they are alone in their turns", async () => {
    for (let turn = 0; turn < 3; turn++) {
      frames.send("x".repeat(100))
      assert.equal(stream.writableLength, 0)
      await nextTurn()
    }
  })

  it("leave before its end when they are many, all of them and in order", async () => {
    const sent = Array.from({ length: 100 }, (_, index) => `${String(index)} ${"x".repeat(KIB)}`)
    for (const text of sent) frames.send(text)
    assert.ok(stream.writableLength < 16 * KIB)
    frames.close(1000, "done")
    assert.deepEqual(await heard, sent)
  })
})
