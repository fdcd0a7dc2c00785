import assert from "node:assert/strict"
import { createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { once } from "node:events"
import { z } from "zod"
import type { LocalIdentity } from "../../../src/wire/identity/identity-folder.ts"
import { RevocationLists } from "../../../src/wire/identity/revocation.ts"
import { MAX_STRIKES } from "../../../src/wire/limits.ts"
import { createGatewayDial } from "../../../src/wire/link/gateway-link.ts"
import type { WirePeer } from "../../../src/wire/link/gateway-link.ts"
import type { GatewayAddress } from "../../../src/wire/link/tls.ts"
import type { RevocationList } from "../../../src/wire/messages/certificate.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { mintAuthorities } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"
import { RawGateway } from "../../support/raw-gateway.ts"
import type { RawSocket } from "../../support/raw-gateway.ts"
import { until } from "../../support/until.ts"

const INSTANCE = "AAAAAAAAAAAAAAAAAAAAAA"
const Request = z.strictObject({ jsonrpc: z.literal("2.0"), id: z.int(), method: z.string(), params: z.unknown() })

describe("A dial to the gateway", () => {
  let authorities: TestAuthorities
  let foreign: TestAuthorities
  let own: LocalIdentity
  let clock: FakeClock
  let log: EventLog
  let revocations: RevocationLists
  let stop: AbortController
  const gateways: RawGateway[] = []
  const peers: WirePeer[] = []

  before(async () => {
    authorities = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
    own = await authorities.identity({ role: "worker" })
  })
  beforeEach(() => {
    clock = new FakeClock()
    log = new EventLog()
    revocations = new RevocationLists({ trust: authorities.trust, clock })
    stop = new AbortController()
  })
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close(1000, "done")
    for (const gateway of gateways.splice(0)) await gateway.close()
  })

  async function lists(revoked: Partial<Record<"gateway" | "worker", string[]>> = {}): Promise<RevocationList[]> {
    return [await authorities.revocationList("gateway", revoked.gateway), await authorities.revocationList("connector"), await authorities.revocationList("worker", revoked.worker)]
  }

  /** A gateway that answers the hello with what a test gives. */
  async function open(identity: LocalIdentity, hello: { nowMs?: number; revocations: readonly RevocationList[] } | null): Promise<RawGateway> {
    const gateway = await RawGateway.open(identity)
    gateways.push(gateway)
    gateway.onText = (text, socket) => {
      const message: unknown = JSON.parse(text)
      const request = Request.safeParse(message)
      if (request.success && request.data.method === "worker.hello" && hello) {
        socket.send(JSON.stringify({ jsonrpc: "2.0", id: request.data.id, result: { nowMs: hello.nowMs ?? clock.now(), revocations: hello.revocations } }))
      }
    }
    return gateway
  }

  function dial(address: GatewayAddress, options: { identity?: () => LocalIdentity } = {}): Promise<WirePeer> {
    const dialled = createGatewayDial({
      address, path: "/v1/worker", identity: options.identity ?? (() => own), revocations,
      handlers: { "job.cancel": () => Promise.resolve({}) },
      hello: (peer) => peer.call("worker.hello", { instance: INSTANCE, software: "test", serves: null }, 10_000),
      clock, random: () => 0.5, log,
    })(stop.signal)
    return dialled.then((peer) => { peers.push(peer); return peer })
  }

  /** Sends a request as the gateway. */
  const asGateway = (socket: RawSocket | undefined, id: number, method: string, params: unknown): void => { socket?.send(JSON.stringify({ jsonrpc: "2.0", id, method, params })) }

  it("leads to a peer that has shown who it is, and knows what is revoked", async () => {
    const gateway = await open(await authorities.identity({ role: "gateway" }), { revocations: await lists() })
    const peer = await dial(gateway.address)
    assert.equal(peer.isOpen, true)
    assert.deepEqual(gateway.paths, ["/v1/worker"])
    assert.ok(gateway.client?.replaceAll("\n", "").includes(own.certificatePem.trim().replaceAll("\n", "")))
    assert.equal(revocations.current().length, 3)
    assert.deepEqual(log.fieldOf("link ready", "gateway"), ["gateway-1"])
  })

  it("shows the identity of the moment", async () => {
    const gateway = await open(await authorities.identity({ role: "gateway" }), { revocations: await lists() })
    let current = own
    await dial(gateway.address, { identity: () => current })
    current = await authorities.identity({ role: "worker", name: "renewed" })
    await dial(gateway.address, { identity: () => current })
    assert.ok(gateway.client?.replaceAll("\n", "").includes(current.certificatePem.trim().replaceAll("\n", "")))
  })

  const impostors: readonly [string, () => Promise<LocalIdentity>, string][] = [
    ["is signed by another authority", () => foreign.identity({ role: "gateway" }), "ERR_CERT_AUTHORITY"],
    ["is a worker's", () => authorities.identity({ role: "worker" }), "ERR_CERT_ROLE"],
    ["is a connector's", () => authorities.identity({ role: "connector" }), "ERR_CERT_ROLE"],
    ["has expired", () => authorities.identity({ role: "gateway", notAfterMs: authorities.nowMs - 1_000 }), "ERR_CERT_EXPIRED"],
    ["is not valid yet", () => authorities.identity({ role: "gateway", notBeforeMs: authorities.nowMs + 60_000 }), "ERR_CERT_NOT_YET_VALID"],
  ]
  for (const [name, identity, code] of impostors) {
    it(`is ended before anything is sent when the gateway's certificate ${name}`, async () => {
      const gateway = await open(await identity(), { revocations: await lists() })
      await assert.rejects(dial(gateway.address), { code })
      assert.equal(gateway.upgrades, 0)
      assert.equal(clock.callbacks, 0)
    })
  }

  it("is ended when the hello's list revokes the gateway", async () => {
    const identity = await authorities.identity({ role: "gateway" })
    const gateway = await open(identity, { revocations: await lists({ gateway: [identity.serial] }) })
    await assert.rejects(dial(gateway.address), { code: "ERR_CERT_REVOKED" })
    await until("the goodbye", () => gateway.closes[0] === 4401)
  })

  it("is ended when the gateway brings no list about gateways", async () => {
    const gateway = await open(await authorities.identity({ role: "gateway" }), { revocations: (await lists()).slice(1) })
    await assert.rejects(dial(gateway.address), { code: "ERR_REVOCATION_STALE" })
  })

  it("is ended when a list is forged", async () => {
    const [list] = await lists()
    assert.ok(list)
    const gateway = await open(await authorities.identity({ role: "gateway" }), { revocations: [{ ...list, serials: ["4".repeat(32)] }] })
    await assert.rejects(dial(gateway.address), { code: "ERR_REVOCATION_INVALID" })
  })

  it("says when the two clocks differ by more than five minutes", async () => {
    const gateway = await open(await authorities.identity({ role: "gateway" }), { nowMs: clock.now() - 300_001, revocations: await lists() })
    await dial(gateway.address)
    assert.deepEqual(log.fieldOf("clock skew", "skewMs"), [-300_001])
  })

  it("waits ten seconds for the hello's answer, and not longer", async () => {
    const gateway = await open(await authorities.identity({ role: "gateway" }), null)
    const ends: unknown[] = []
    const dialled = dial(gateway.address).catch((error: unknown) => ends.push(error))
    await until("the upgrade", () => gateway.sockets.length === 1)
    await until("the hello", () => clock.callbacks >= 2)
    await clock.tick(9_999)
    assert.equal(ends.length, 0)
    await clock.tick(1)
    await dialled
    assert.deepEqual(ends.map((error) => error instanceof Error && "code" in error && error.code), ["ERR_DEADLINE"])
  })

  describe("to an end that falls silent", () => {
    /** Accepts TCP and says nothing. */
    async function deaf(): Promise<{ address: GatewayAddress; arrived: Promise<unknown>; close: () => Promise<void> }> {
      const sockets: Socket[] = []
      const server = createServer((socket) => { sockets.push(socket.on("error", () => undefined)) })
      const arrived = once(server, "connection")
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      return {
        address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port }, arrived,
        close: async () => {
          for (const socket of sockets) socket.destroy()
          server.close()
          await once(server, "close")
        },
      }
    }

    for (const how of ["after ten seconds", "when stopped"] as const) {
      const end = async (): Promise<void> => {
        if (how === "when stopped") stop.abort()
        else await clock.tick(10_000)
      }

      it(`is given up ${how}: before TLS`, async () => {
        const { address, arrived, close } = await deaf()
        const dialled = assert.rejects(dial(address), { code: "ERR_UNREACHABLE" })
        await arrived
        await end()
        await dialled
        await close()
        assert.equal(clock.callbacks, 0)
      })

      it(`is given up ${how}: before the upgrade is answered`, async () => {
        const gateway = await open(await authorities.identity({ role: "gateway" }), null)
        gateway.onUpgrade = () => undefined
        const dialled = assert.rejects(dial(gateway.address), { code: "ERR_UNREACHABLE" })
        await until("the upgrade", () => gateway.upgrades === 1)
        await end()
        await dialled
        assert.equal(clock.callbacks, 0)
      })
    }

    it("is given up at once when stopped during the hello", async () => {
      const gateway = await open(await authorities.identity({ role: "gateway" }), null)
      let asked = 0
      gateway.onText = () => { asked += 1 }
      const dialled = assert.rejects(dial(gateway.address), { code: "ERR_LINK_LOST" })
      await until("the hello", () => asked === 1)
      stop.abort()
      await dialled
      await until("the goodbye", () => gateway.closes[0] === 1001)
    })
  })

  describe("leads to a peer that", () => {
    let identity: LocalIdentity
    let gateway: RawGateway
    let peer: WirePeer
    let socket: RawSocket | undefined
    let answers: unknown[]
    beforeEach(async () => {
      identity = await authorities.identity({ role: "gateway" })
      gateway = await open(identity, { revocations: await lists() })
      peer = await dial(gateway.address)
      socket = gateway.sockets[0]
      answers = []
      gateway.onText = (text) => { answers.push(JSON.parse(text)) }
    })

    const malformed: readonly [string, string][] = [
      ["no JSON", "{"], ["a batch", "[]"], ["no id", '{"jsonrpc":"2.0","method":"job.cancel","params":{}}'],
      ["a method that is the gateway's own", '{"jsonrpc":"2.0","id":1,"method":"operation.begin","params":{}}'],
      ["an unknown field", `{"jsonrpc":"2.0","id":1,"method":"job.cancel","params":{"run":"${INSTANCE}","deadlineMs":1,"shell":"sh"}}`],
      ["a __proto__", `{"jsonrpc":"2.0","id":1,"method":"job.cancel","params":{"run":"${INSTANCE}","deadlineMs":1,"__proto__":{"polluted":1}}}`],
      ["an answer to nothing", '{"jsonrpc":"2.0","id":9999,"result":{}}'],
      ["a revocation list that is none", '{"jsonrpc":"2.0","id":1,"method":"revocation.update","params":{"revocations":[{}],"deadlineMs":1}}'],
    ]
    for (const [name, frame] of malformed) {
      it(`tells a gateway that sends ${name}, and leaves it with 4400 once it goes on`, async () => {
        for (let strike = 1; strike <= MAX_STRIKES; strike++) socket?.send(frame)
        await until("the goodbye", () => gateway.closes[0] === 4400)
        assert.equal(answers.length, MAX_STRIKES)
        assert.equal((await peer.closed).code, 4400)
        assert.equal("polluted" in {}, false)
      })
    }

    it("takes newer lists over, and is ended when one revokes the gateway", async () => {
      asGateway(socket, 1, "revocation.update", { revocations: [await authorities.revocationList("worker", ["4".repeat(32)])], deadlineMs: 1_000 })
      await until("the answer", () => answers.length === 1)
      assert.deepEqual(answers, [{ jsonrpc: "2.0", id: 1, result: {} }])
      assert.equal(revocations.isRevoked("worker", "4".repeat(32)), true)
      assert.equal(peer.isOpen, true)
      asGateway(socket, 2, "revocation.update", { revocations: [await authorities.revocationList("gateway", [identity.serial])], deadlineMs: 1_000 })
      assert.deepEqual(await peer.closed, { code: 4401, reason: "ERR_CERT_REVOKED" })
    })

    it("refuses a list that goes back, and keeps what it knows", async () => {
      const [older] = await lists()
      asGateway(socket, 1, "revocation.update", { revocations: [await authorities.revocationList("gateway", ["4".repeat(32)]), older], deadlineMs: 1_000 })
      await until("the answer", () => answers.length === 1)
      assert.match(JSON.stringify(answers), /ERR_REVOCATION_INVALID/)
      assert.equal(revocations.isRevoked("gateway", "4".repeat(32)), true)
    })
  })
})
