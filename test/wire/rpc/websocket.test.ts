import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, IncomingMessage } from "node:http"
import type { Server } from "node:http"
import { connect, Socket } from "node:net"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, PING_EVERY_MS, PONG_WITHIN_MS, SILENT_AFTER_MS, SUBPROTOCOL } from "../../../src/wire/limits.ts"
import { createUpgrader, offersSubprotocol, openWebSocket, REFUSAL_HEADER, WebSocketFrames } from "../../../src/wire/rpc/websocket.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { TcpProxy } from "../../support/tcp-proxy.ts"
import { until } from "../../support/until.ts"

/** A listening end that keeps what it hears. */
class Listening {
  readonly texts: string[] = []
  closed: number | undefined
  readonly frames: WebSocketFrames

  constructor(frames: WebSocketFrames) {
    this.frames = frames
    frames.listen({ onText: (text) => { this.texts.push(text) }, onClose: (code) => { this.closed = code } })
  }
}

describe("WebSocket frames", () => {
  let clock: FakeClock
  let server: Server
  let port: number
  let heartbeat: "expect" | "none"
  let arrived: PromiseWithResolvers<Listening>
  const dialled: Socket[] = []
  const upgraded: Duplex[] = []

  beforeEach(async () => {
    clock = new FakeClock()
    heartbeat = "none"
    arrived = Promise.withResolvers()
    const upgrade = createUpgrader()
    server = createServer().on("upgrade", (request, stream, head) => {
      upgraded.push(stream)
      stream.on("error", () => undefined)
      void upgrade(request, stream, head).then((socket) => {
        arrived.resolve(new Listening(new WebSocketFrames({ socket, stream, clock, random: () => 0.5, heartbeat })))
      })
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    port = (server.address() as AddressInfo).port
  })
  afterEach(async () => {
    for (const socket of dialled.splice(0)) socket.destroy()
    for (const stream of upgraded.splice(0)) stream.destroy()
    server.close()
    server.closeAllConnections()
    await once(server, "close")
  })

  async function dialTcp(to = port): Promise<Socket> {
    const stream = connect(to, "127.0.0.1")
    dialled.push(stream)
    stream.on("error", () => undefined)
    await once(stream, "connect")
    return stream
  }

  /** The dialling end's raw WebSocket, which may send anything, and the listening end. */
  async function open(to = port): Promise<{ raw: Awaited<ReturnType<typeof openWebSocket>>; stream: Socket; near: Listening }> {
    const stream = await dialTcp(to)
    const raw = await openWebSocket(stream, "/", "localhost")
    return { raw, stream, near: await arrived.promise }
  }

  it("speak the protocol's name alone, and carry text both ways in order", async () => {
    const { raw, near } = await open()
    assert.equal(raw.protocol, SUBPROTOCOL)
    assert.equal(raw.extensions, "")
    const back: string[] = []
    raw.on("message", (data: Buffer) => { back.push(data.toString()) })
    for (let index = 0; index < 100; index++) raw.send(String(index))
    await until("all texts", () => near.texts.length === 100)
    assert.deepEqual(near.texts, Array.from({ length: 100 }, (_, index) => String(index)))
    for (let index = 0; index < 100; index++) near.frames.send(String(index))
    await until("all texts back", () => back.length === 100)
    assert.deepEqual(back, near.texts)
  })

  it("of one turn leave together, in one piece", async () => {
    const { raw, near } = await open()
    const [stream] = upgraded
    assert.ok(stream)
    let writes = 0
    raw.on("message", () => undefined)
    dialled[0]?.on("data", () => { writes += 1 })
    for (let index = 0; index < 50; index++) near.frames.send("x".repeat(100))
    await until("all sent", () => (dialled[0]?.bytesRead ?? 0) > 5_000)
    assert.equal(writes, 1)
  })

  it("end with 1009 one byte over the limit, and not at it", async () => {
    const { raw, near } = await open()
    raw.send("x".repeat(MAX_FRAME_BYTES))
    await until("the largest frame", () => near.texts.length === 1)
    raw.send("x".repeat(MAX_FRAME_BYTES + 1))
    const [code] = await once(raw, "close") as [number]
    assert.equal(code, 1009)
    assert.equal(near.texts.length, 1)
  })

  it("end with 1009 for a frame that grows over the limit in pieces", async () => {
    const { raw, near } = await open()
    raw.send("x".repeat(MAX_FRAME_BYTES), { fin: false })
    raw.send("x", { fin: true })
    assert.equal((await once(raw, "close") as [number])[0], 1009)
    assert.deepEqual(near.texts, [])
  })

  const badUtf8: readonly [string, number[]][] = [
    ["a stray continuation", [0x80]], ["an overlong slash", [0xc0, 0xaf]], ["half a character", [0x22, 0xe2, 0x82]],
    ["a surrogate", [0xed, 0xa0, 0x80]], ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80]], ["0xff", [0xff]],
  ]
  for (const [name, bytes] of badUtf8) {
    it(`end with 1007 for bad UTF-8: ${name}`, async () => {
      const { raw, near } = await open()
      raw.send(Buffer.from(bytes), { binary: false })
      assert.equal((await once(raw, "close") as [number])[0], 1007)
      await until("the near end", () => near.closed !== undefined)
      assert.deepEqual(near.texts, [])
    })
  }

  it("end with 1003 for binary", async () => {
    const { raw, near } = await open()
    raw.send(Buffer.from("{}"), { binary: true })
    assert.equal((await once(raw, "close") as [number])[0], 1003)
    await until("the near end", () => near.closed === 1003)
    assert.deepEqual(near.texts, [])
  })

  for (const [name, bytes] of [
    ["a reserved opcode", [0x83, 0x80, 0, 0, 0, 0]], ["a reserved bit (compression)", [0xc1, 0x80, 0, 0, 0, 0]], ["no mask", [0x81, 0x02, 0x7b, 0x7d]],
    ["a continuation of nothing", [0x80, 0x80, 0, 0, 0, 0]], ["a long ping", [0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0]],
  ] as const) {
    it(`end with 1002 for what is no WebSocket frame: ${name}`, async () => {
      const { raw, stream, near } = await open()
      const closed = once(raw, "close") as Promise<[number]>
      stream.write(Buffer.from(bytes))
      assert.equal((await closed)[0], 1002)
      await until("the near end", () => near.closed !== undefined)
    })
  }

  it("end when the connection breaks in the middle of one, at any byte", async () => {
    for (const length of [1, 2, 5, 6, 7, 20, 105]) {
      arrived = Promise.withResolvers()
      const { stream, near } = await open()
      const whole = Buffer.concat([Buffer.from([0x81, 0x80 | 100, 1, 2, 3, 4]), Buffer.alloc(100, 0x7b)])
      stream.end(whole.subarray(0, length))
      await until("the end", () => near.closed !== undefined)
      assert.deepEqual([near.closed, near.texts], [1006, []])
    }
  })

  it("are dropped after the end", async () => {
    const { raw, near } = await open()
    near.frames.close(4400, "enough")
    near.frames.send("more")
    near.frames.close(1000, "again")
    let more = 0
    raw.on("message", () => { more += 1 })
    assert.deepEqual((await once(raw, "close") as [number, Buffer]).map(String), ["4400", "enough"])
    assert.equal(more, 0)
  })

  it("disconnect who reads slower than it asks, and hold no more than the limit for it", async () => {
    const { stream, near } = await open()
    stream.pause()
    const text = "x".repeat(MAX_FRAME_BYTES / 2)
    let frames = 0
    // Nobody ever reads: the system's buffers fill, then ours, then it is over.
    while (near.closed === undefined && frames < 200) {
      near.frames.send(text)
      frames += 1
      await new Promise(setImmediate)
      const held = upgraded[0]?.writableLength ?? 0
      assert.ok(held <= MAX_BUFFERED_BYTES + 2 * text.length, `${String(held)} bytes held`)
      if (clock.callbacks > 0) break
    }
    assert.equal(clock.callbacks, 1, "the close waits for its answer, which never comes")
    await clock.tick(2_000)
    await until("the end", () => near.closed !== undefined)
    assert.ok(frames < 200)
    assert.equal(clock.callbacks, 0)
  })

  it("cut a connection whose other end does not answer the close", async () => {
    const proxy = await TcpProxy.open(() => port)
    try {
      const { near } = await open(proxy.port)
      proxy.freeze()
      near.frames.close(1001, "shutting down")
      await clock.tick(1_999)
      assert.equal(near.closed, undefined)
      await clock.tick(1)
      await until("the end", () => near.closed === 1006)
    } finally {
      await proxy.close()
    }
  })

  describe("of the dialling end", () => {
    /** A dialling end with a heartbeat, whose pings the other end answers unless the proxy is frozen. */
    async function dial(through: TcpProxy): Promise<{ closed: () => number | undefined; pings: () => number }> {
      const stream = await dialTcp(through.port)
      const socket = await openWebSocket(stream, "/", "localhost")
      let closed: number | undefined
      let pongs = 0
      socket.on("pong", () => { pongs += 1 })
      new WebSocketFrames({ socket, stream, clock, random: () => 0.5, heartbeat: "ping" }).listen({ onText: () => undefined, onClose: (code) => { closed = code } })
      await arrived.promise
      return { closed: () => closed, pings: () => pongs }
    }

    it("ping, and find a half-open connection ten seconds after the ping", async () => {
      const proxy = await TcpProxy.open(() => port)
      try {
        const { closed, pings } = await dial(proxy)
        await clock.tick(PING_EVERY_MS)
        await until("the pong", () => pings() === 1)
        await clock.tick(PONG_WITHIN_MS)
        assert.equal(closed(), undefined)
        proxy.freeze()
        await clock.tick(PING_EVERY_MS + PONG_WITHIN_MS - 1)
        assert.equal(closed(), undefined)
        await clock.tick(1)
        await until("the end", () => closed() === 1006)
        assert.equal(clock.callbacks, 0)
      } finally {
        await proxy.close()
      }
    })
  })

  describe("of the listening end", () => {
    beforeEach(() => { heartbeat = "expect" })

    it("give a link up that has been silent for two minutes, and not one millisecond before", async () => {
      const { near } = await open()
      await clock.tick(SILENT_AFTER_MS - 1)
      assert.equal(near.closed, undefined)
      await clock.tick(1)
      await until("the end", () => near.closed === 1006)
      assert.equal(clock.callbacks, 0)
    })

    for (const sign of ["ping", "text"] as const) {
      it(`take a ${sign} for a sign of life`, async () => {
        const { raw, near } = await open()
        await clock.tick(SILENT_AFTER_MS - 1)
        if (sign === "ping") {
          raw.ping()
          await once(raw, "pong")
        } else {
          raw.send("{}")
          await until("the text", () => near.texts.length === 1)
        }
        await clock.tick(SILENT_AFTER_MS - 1)
        assert.equal(near.closed, undefined)
        await clock.tick(1)
        await until("the end", () => near.closed === 1006)
      })
    }
  })
})

describe("Opening a WebSocket", () => {
  let server: Server
  let port: number
  let answer: (stream: Duplex) => void
  const streams: Duplex[] = []
  beforeEach(async () => {
    server = createServer().on("upgrade", (_request, stream) => {
      streams.push(stream)
      stream.on("error", () => undefined)
      answer(stream)
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    port = (server.address() as AddressInfo).port
  })
  afterEach(async () => {
    for (const stream of streams.splice(0)) stream.destroy()
    server.close()
    server.closeAllConnections()
    await once(server, "close")
  })

  async function open(signal?: AbortSignal): Promise<unknown> {
    const stream = connect(port, "127.0.0.1")
    await once(stream, "connect")
    return await openWebSocket(stream, "/", "localhost", signal).finally(() => { stream.destroy() })
  }

  const refuse = (status: string, header: string) => (stream: Duplex): void => {
    stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n${header}\r\n`)
  }

  it("names the reason for which the gateway refused", async () => {
    answer = refuse("403 Forbidden", `${REFUSAL_HEADER}: ERR_CERT_REVOKED\r\n`)
    await assert.rejects(open(), { code: "ERR_CERT_REVOKED" })
  })

  for (const header of ["", `${REFUSAL_HEADER}: ERR_DENIED\r\n`, `${REFUSAL_HEADER}: __proto__\r\n`]) {
    it(`takes every other refusal for an outage (${header.trim() || "no reason"})`, async () => {
      answer = refuse("503 Service Unavailable", header)
      await assert.rejects(open(), { code: "ERR_UNREACHABLE" })
    })
  }

  it("fails when the connection ends, or what answers is no HTTP", async () => {
    answer = (stream) => { stream.destroy() }
    await assert.rejects(open(), { code: "ERR_UNREACHABLE" })
    answer = (stream) => { stream.end("SSH-2.0-OpenSSH\r\n") }
    await assert.rejects(open(), { code: "ERR_UNREACHABLE" })
  })

  it("can be given up while the other end says nothing", async () => {
    const stop = new AbortController()
    answer = () => { stop.abort() }
    await assert.rejects(open(stop.signal), { code: "ERR_UNREACHABLE" })
    await assert.rejects(open(AbortSignal.abort()), { code: "ERR_UNREACHABLE" })
  })
})

describe("A request's subprotocols", () => {
  for (const [offered, expected] of [
    [SUBPROTOCOL, true], [`ekey.v0, ${SUBPROTOCOL}`, true], [undefined, false], ["", false], ["ekey.v2", false], [`${SUBPROTOCOL}x`, false], ["EKEY.V1", false],
  ] as const) {
    it(`${expected ? "offer" : "do not offer"} this version: ${String(offered)}`, () => {
      const request = new IncomingMessage(new Socket())
      if (offered !== undefined) request.headers["sec-websocket-protocol"] = offered
      assert.equal(offersSubprotocol(request), expected)
    })
  }
})
