import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:net"
import type { AddressInfo, Server, Socket } from "node:net"
import { connectTls, parseGatewayUrl } from "../../../src/wire/link/tls.ts"
import { mintAuthorities } from "../../support/identities.ts"
import { RawGateway } from "../../support/raw-gateway.ts"

describe("The gateway's address", () => {
  for (const [text, host, port] of [
    ["wss://gateway.example.com", "gateway.example.com", 443],
    ["wss://gateway.example.com/", "gateway.example.com", 443],
    ["wss://gateway.example.com:7400", "gateway.example.com", 7400],
    ["wss://127.0.0.1:1", "127.0.0.1", 1],
    ["wss://[::1]:7400", "::1", 7400],
    ["WSS://Gateway.Example.com:443", "gateway.example.com", 443],
  ] as const) {
    it(`is read from ${text}`, () => { assert.deepEqual(parseGatewayUrl(text), { host, port }) })
  }

  for (const text of [
    "", "gateway.example.com", "gateway.example.com:7400", "https://gateway.example.com", "ws://gateway.example.com", "wss://",
    "wss://user@gateway.example.com", "wss://:secret@gateway.example.com", "wss://gateway.example.com/v1", "wss://gateway.example.com?x=1",
    "wss://gateway.example.com#x", "wss://gateway.example.com:99999", "wss://gateway example.com", "javascript:alert(1)",
  ]) {
    it(`is refused: ${text || "nothing"}`, () => {
      assert.throws(() => parseGatewayUrl(text), (error) => {
        assert.ok(error instanceof Error && "code" in error)
        assert.equal(error.code, "ERR_CONFIG")
        return !error.message.includes("secret")
      })
    })
  }
})

describe("A TLS connection", () => {
  it("is made to whoever answers, with the certificate that is to be judged, and shows one's own", async () => {
    const authorities = await mintAuthorities()
    const gateway = await RawGateway.open(await authorities.identity({ role: "gateway" }))
    try {
      const own = await authorities.identity({ role: "worker" })
      const stream = await connectTls(gateway.address, own, new AbortController().signal)
      assert.match(stream.getPeerX509Certificate()?.subjectAltName ?? "", /spiffe:\/\/backup\.example\/gateway\/gateway-1/)
      assert.deepEqual([stream.getProtocol(), stream.authorized, stream.isSessionReused()], ["TLSv1.3", false, false])
      stream.destroy()
    } finally {
      await gateway.close()
    }
  })

  describe("to an end that is no gateway", () => {
    let server: Server
    let onConnection: (socket: Socket) => void
    const sockets: Socket[] = []
    beforeEach(async () => {
      server = createServer((socket) => {
        sockets.push(socket)
        socket.on("error", () => undefined)
        onConnection(socket)
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
    })
    afterEach(async () => {
      for (const socket of sockets.splice(0)) socket.destroy()
      if (!server.listening) return
      server.close()
      await once(server, "close")
    })
    const dial = (signal = new AbortController().signal) => connectTls({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, undefined, signal)

    it("fails when it speaks something else", async () => {
      onConnection = (socket) => { socket.end("HTTP/1.1 200 OK\r\n\r\n") }
      await assert.rejects(dial(), { code: "ERR_UNREACHABLE" })
    })

    it("fails when it hangs up", async () => {
      onConnection = (socket) => { socket.destroy() }
      await assert.rejects(dial(), { code: "ERR_UNREACHABLE" })
    })

    it("can be given up while it says nothing", async () => {
      const stop = new AbortController()
      onConnection = () => { stop.abort() }
      await assert.rejects(dial(stop.signal), { code: "ERR_UNREACHABLE" })
      await assert.rejects(dial(AbortSignal.abort()), { code: "ERR_UNREACHABLE" })
    })

    it("fails when nobody listens", async () => {
      const { port } = server.address() as AddressInfo
      server.close()
      await once(server, "close")
      await assert.rejects(connectTls({ host: "127.0.0.1", port }, undefined, new AbortController().signal), { code: "ERR_UNREACHABLE", retryable: true })
    })
  })
})
