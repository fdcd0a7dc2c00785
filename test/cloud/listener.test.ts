import assert from "node:assert/strict"
import { once } from "node:events"
import { get } from "node:https"
import { connect } from "node:net"
import type { Socket } from "node:net"
import { EkeyError } from "../../src/base/errors.ts"
import { listen } from "../../src/cloud/listener.ts"
import type { Listener } from "../../src/cloud/listener.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { RevocationLists } from "../../src/wire/identity/revocation.ts"
import type { WireHandlers } from "../../src/wire/link/gateway-link.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import { MAX_STRIKES } from "../../src/wire/limits.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { RpcPeer } from "../../src/wire/rpc/peer.ts"
import { openWebSocket, WebSocketFrames } from "../../src/wire/rpc/websocket.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { mintAuthorities } from "../support/identities.ts"
import type { TestAuthorities } from "../support/identities.ts"
import { until } from "../support/until.ts"

const ID = "AAAAAAAAAAAAAAAAAAAAAA"
const BEGIN = { product: "microsoft-365", workflow: "backup.manual", run: null } as const

describe("The gateway's door", () => {
  let authorities: TestAuthorities
  let revocations: RevocationLists
  let identity: LocalIdentity
  let own: LocalIdentity
  let clock: FakeClock
  let log: EventLog
  let listener: Listener | undefined
  let port: number
  let begun: number
  const sockets: Socket[] = []

  before(async () => {
    authorities = await mintAuthorities()
    identity = await authorities.identity({ role: "gateway" })
    own = await authorities.identity({ role: "worker" })
  })
  beforeEach(async () => {
    clock = new FakeClock()
    log = new EventLog()
    revocations = await authorities.freshRevocations()
    begun = 0
    await open()
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await listener?.close()
    listener = undefined
  })

  async function open(at = 0): Promise<void> {
    const worker: WireHandlers = {
      "operation.begin": async () => {
        begun += 1
        return { operation: ID }
      },
      "operation.end": () => new Promise(() => undefined),
    }
    listener = await listen({
      host: "127.0.0.1", port: at, identity: () => identity, revocations, clock, random: () => 0.5, log,
      serve: { connector: () => ({}), worker: () => worker, enrol: () => ({ "certificate.enrol": () => new Promise(() => undefined) }) },
    })
    port = listener.port
  }

  async function dialTls(as: LocalIdentity | null = own) {
    const stream = await connectTls({ host: "127.0.0.1", port }, as ?? undefined, new AbortController().signal)
    sockets.push(stream)
    stream.on("error", () => undefined)
    return stream
  }

  /** A connection that may send anything, and what comes back. */
  async function dialRaw(path = "/v1/worker", as: LocalIdentity | null = own) {
    const socket = await openWebSocket(await dialTls(as), path, "127.0.0.1")
    const received: { id: number | null; code: string | undefined }[] = []
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as { id: number | null; error?: { data: { code: string } } }
      received.push({ id: frame.id, code: frame.error?.data.code })
    })
    const closed = once(socket, "close").then(([code]: unknown[]) => code)
    return { socket, received, closed }
  }

  /** A peer that keeps to the protocol. */
  async function dialPeer() {
    const stream = await dialTls()
    const socket = await openWebSocket(stream, "/v1/worker", "127.0.0.1")
    return new RpcPeer({ socket: new WebSocketFrames({ socket, stream, clock, random: () => 0.5, heartbeat: "none" }), methods: METHODS, handlers: {}, clock, log: new EventLog() })
  }

  /** Sends text over TLS, gives the answer, and waits until the other end has hung up although this one does not. */
  async function converse(text: string, as: LocalIdentity | null = own): Promise<string> {
    const stream = await dialTls(as)
    stream.allowHalfOpen = true
    let answer = ""
    stream.on("data", (chunk: Buffer) => { answer += chunk.toString() })
    stream.write(text)
    await once(stream, "end")
    // A connection of which only the other half is open takes this for ever.
    await until("the other end to have hung up", () => {
      stream.write("more")
      return stream.destroyed
    })
    return answer
  }
  const upgrade = (path: string, protocol = "ekey.v1"): string =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`

  describe("answers", () => {
    it("plain requests with 426", async () => {
      const request = get({ host: "127.0.0.1", port, path: "/", rejectUnauthorized: false, agent: false })
      const [response] = await once(request, "response") as [{ statusCode: number; resume(): void }]
      response.resume()
      assert.equal(response.statusCode, 426)
    })

    for (const [name, path, protocol, status, header] of [
      ["another path", "/v1/admin", "ekey.v1", 404, null],
      ["a path with more behind it", "/v1/worker/", "ekey.v1", 404, null],
      ["another protocol version", "/v1/worker", "ekey.v2", 403, "ERR_VERSION"],
      ["the path of another role", "/v1/connector", "ekey.v1", 403, "ERR_CERT_ROLE"],
    ] as const) {
      it(`${name} with ${String(status)}, and hangs up on who does not`, async () => {
        const head = await converse(upgrade(path, protocol))
        assert.ok(head.startsWith(`HTTP/1.1 ${String(status)} `), head)
        assert.equal(/x-ekey-error: (\w+)/.exec(head)?.[1] ?? null, header)
      })
    }

    it("who shows no certificate with its own reason", async () => {
      const head = await converse(upgrade("/v1/worker"), null)
      assert.match(head, /^HTTP\/1\.1 403 .*x-ekey-error: ERR_CERT_MISSING\r\n/s)
      assert.deepEqual(log.fieldOf("upgrade refused", "code"), ["ERR_CERT_MISSING"])
    })

    it("a handshake that is no WebSocket's with 400, and hangs up", async () => {
      const head = await converse(upgrade("/v1/worker").replace("Version: 13", "Version: 99"))
      assert.match(head, /^HTTP\/1\.1 4\d\d /)
    })
  })

  it("is not opened twice at one port: ERR_CONFIG", async () => {
    await assert.rejects(listen({
      host: "127.0.0.1", port, identity: () => identity, revocations, clock, random: () => 0.5, log,
      serve: { connector: () => ({}), worker: () => ({}), enrol: () => ({}) },
    }), { code: "ERR_CONFIG" })
  })

  it("shows a renewed certificate to everybody who comes after", async () => {
    const renewed = await authorities.identity({ role: "gateway", name: "renewed" })
    listener?.useIdentity(renewed)
    const stream = await dialTls()
    assert.ok(stream.getPeerX509Certificate()?.raw.equals(renewed.certificateDer))
  })

  describe("closes", () => {
    it("with a goodbye to everybody inside", async () => {
      const { closed } = await dialRaw()
      await listener?.close()
      assert.equal(await closed, 1001)
      listener = undefined
    })

    it("also while somebody has only connected, only spoken TLS, or was let in and says nothing", async () => {
      const tcp = connect(port, "127.0.0.1").on("error", () => undefined)
      sockets.push(tcp)
      await once(tcp, "connect")
      const ends = [once(tcp, "close"), once(await dialTls(), "close")]
      const { socket } = await dialRaw()
      socket.pause() // Never answers the goodbye.
      const closing = listener?.close()
      await until("the goodbye", () => clock.callbacks > 0)
      await clock.tick(2_000)
      await closing
      await Promise.all(ends)
      listener = undefined
    })
  })

  describe("lets strangers enrol", () => {
    it("64 at once, and no more until one has gone", async () => {
      const inside = []
      for (let count = 0; count < 64; count++) inside.push(await dialRaw("/v1/enrol", null))
      await assert.rejects(dialRaw("/v1/enrol", null), (error) => error instanceof EkeyError && error.code === "ERR_UNREACHABLE" && error.retryable)
      inside[0]?.socket.close(1000)
      await inside[0]?.closed
      await until("a free place", () => dialRaw("/v1/enrol", null).catch(() => null))
      // Who is enrolled is not held up by strangers.
      assert.deepEqual(await (await dialPeer()).call("operation.begin", BEGIN, 5_000), { operation: ID })
    }).timeout(30_000)

    it("for thirty seconds", async () => {
      const { socket, closed } = await dialRaw("/v1/enrol", null)
      socket.send(`{"jsonrpc":"2.0","id":1,"method":"certificate.enrol","params":{"role":"worker","tokenId":"${ID}","csr":"MIIB","proof":"${"A".repeat(43)}","deadlineMs":60000}}`)
      await until("the connection", () => clock.callbacks > 0)
      await clock.tick(30_000)
      assert.equal(await closed, 1001)
    })

    it("and gives them nothing else", async () => {
      const { socket, received } = await dialRaw("/v1/enrol", null)
      for (const [index, method] of Object.keys(METHODS).filter((name) => name !== "certificate.enrol").slice(0, MAX_STRIKES - 1).entries()) {
        socket.send(JSON.stringify({ jsonrpc: "2.0", id: index + 1, method, params: { deadlineMs: 1 } }))
      }
      await until("all answers", () => received.length === MAX_STRIKES - 1)
      assert.ok(received.every(({ code }) => code === "ERR_METHOD"))
    })
  })

  describe("hears nonsense", () => {
    const request = (params: string, method = "operation.begin", id = "1"): string => `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`
    const good = JSON.stringify({ ...BEGIN, deadlineMs: 1_000 })
    const rows: readonly [string, string, { id: number | null; code: string }][] = [
      ["no JSON", "{", { id: null, code: "ERR_FRAME" }],
      ["a text", '"hello"', { id: null, code: "ERR_FRAME" }],
      ["a batch", `[${request(good)},${request(good)}]`, { id: null, code: "ERR_FRAME" }],
      ["a request without an id", `{"jsonrpc":"2.0","method":"operation.begin","params":${good}}`, { id: null, code: "ERR_FRAME" }],
      ["a huge id", request(good, "operation.begin", "1e400"), { id: null, code: "ERR_FRAME" }],
      ["an unknown field beside the request", request(good).replace('"id"', '"auth":"x","id"'), { id: null, code: "ERR_FRAME" }],
      ["a __proto__ beside the request", request(good).replace('"id"', '"__proto__":{"polluted":1},"id"'), { id: null, code: "ERR_FRAME" }],
      ["an unknown method", request(good, "admin.shutdown"), { id: 1, code: "ERR_METHOD" }],
      ["a method of another role", request(good, "records.put"), { id: 1, code: "ERR_METHOD" }],
      ["a method of every object", request(good, "hasOwnProperty"), { id: 1, code: "ERR_METHOD" }],
      ["an unknown field", request(good.replace("{", '{"tenant":"other",')), { id: 1, code: "ERR_PARAMS" }],
      ["a __proto__", request(good.replace("{", '{"__proto__":{"polluted":1},')), { id: 1, code: "ERR_PARAMS" }],
      ["a constructor", request(good.replace("{", '{"constructor":{"prototype":{"polluted":1}},')), { id: 1, code: "ERR_PARAMS" }],
      ["wrong types", request('{"product":1,"workflow":{},"run":[],"deadlineMs":"1"}'), { id: 1, code: "ERR_PARAMS" }],
      ["a deadline beyond any", request(good.replace("1000", "1e308")), { id: 1, code: "ERR_PARAMS" }],
      ["an unknown workflow", request(good.replace("backup.manual", "backup.everything")), { id: 1, code: "ERR_PARAMS" }],
      ["depth", request(`${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`), { id: 1, code: "ERR_PARAMS" }],
      ["a million names", request(`{${Array.from({ length: 60_000 }, (_, index) => `"n${String(index)}":0`).join()}}`), { id: 1, code: "ERR_PARAMS" }],
      ["a reply that nobody asked for", '{"jsonrpc":"2.0","id":1,"result":{}}', { id: null, code: "ERR_FRAME" }],
    ]
    for (const [name, frame, told] of rows) {
      it(`and says so, closes with 4400, and serves others meanwhile: ${name}`, async () => {
        const other = await dialPeer()
        const { socket, received, closed } = await dialRaw()
        for (let strike = 1; strike <= MAX_STRIKES; strike++) {
          socket.send(frame)
          assert.deepEqual(await other.call("operation.begin", BEGIN, 5_000), { operation: ID })
        }
        assert.equal(await closed, 4400)
        assert.deepEqual(received, Array.from({ length: MAX_STRIKES }, () => told))
        assert.deepEqual(await other.call("operation.begin", BEGIN, 5_000), { operation: ID })
        assert.deepEqual([other.isOpen, begun, "polluted" in {}], [true, MAX_STRIKES + 1, false])
        other.close(1000, "done")
      })
    }

    for (const [name, frame, options, code] of [
      ["binary", Buffer.from("{}"), { binary: true }, 1003],
      ["bad UTF-8", Buffer.from([0x22, 0xff, 0x22]), { binary: false }, 1007],
      ["one byte over the limit", Buffer.alloc(1024 * 1024 + 1, 0x20), { binary: false }, 1009],
    ] as const) {
      it(`and closes with ${String(code)}: ${name}`, async () => {
        const other = await dialPeer()
        const { socket, closed } = await dialRaw()
        socket.send(frame, options)
        assert.equal(await closed, code)
        assert.deepEqual(await other.call("operation.begin", BEGIN, 5_000), { operation: ID })
        other.close(1000, "done")
      })
    }

    it("and says so of a request truncated at any length, without ever taking it for one", async () => {
      const whole = request(good)
      for (let length = 0; length < whole.length;) {
        const { socket, received, closed } = await dialRaw()
        const count = Math.min(MAX_STRIKES, whole.length - length)
        for (let sent = 0; sent < count; sent++) socket.send(whole.slice(0, length++))
        await until("all answers", () => received.length === count)
        assert.ok(received.every(({ id, code }) => id === null && code === "ERR_FRAME"))
        if (count === MAX_STRIKES) assert.equal(await closed, 4400)
        socket.close()
      }
      assert.equal(begun, 0)
    }).timeout(30_000)

    it("and refuses an id that is in use, while the first use goes on", async () => {
      const { socket, received, closed } = await dialRaw()
      const end = request(`{"operation":"${ID}","outcome":{"state":"succeeded","exitCode":0,"statistics":{}},"deadlineMs":1000}`, "operation.end", "7")
      for (let sent = 0; sent <= MAX_STRIKES; sent++) socket.send(end)
      assert.equal(await closed, 4400)
      assert.deepEqual(received, Array.from({ length: MAX_STRIKES }, () => ({ id: 7, code: "ERR_DUPLICATE_ID" })))
    })

    it("and keeps nothing of it: no connection, no timer, nothing of what was said", async () => {
      const timers = clock.callbacks
      for (let round = 0; round < 10; round++) {
        const { socket, closed } = await dialRaw()
        for (let strike = 0; strike < MAX_STRIKES; strike++) socket.send(request('{"secret-word":"secret-value"}'))
        assert.equal(await closed, 4400)
      }
      await until("no timer is left", () => clock.callbacks === timers)
      assert.ok(!JSON.stringify(log.events).includes("secret-value"))
    })
  })
})
