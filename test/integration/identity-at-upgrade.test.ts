import assert from "node:assert/strict"
import { connect, createServer } from "node:tls"
import type { TLSSocket } from "node:tls"
import type { AddressInfo } from "node:net"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { issueRoot, toPem } from "../../src/crypto/x509.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import { formatSpiffeId } from "../../src/wire/identity/spiffe.ts"
import { createGatewayDial } from "../../src/wire/link/gateway-link.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import type { GatewayAddress, TlsIdentity } from "../../src/wire/link/tls.ts"
import { CLOSE_CODES, PATHS } from "../../src/wire/limits.ts"
import { openWebSocket } from "../../src/wire/rpc/websocket.ts"
import { CloudScene } from "../support/cloud-scene.ts"
import { EventLog } from "../support/event-log.ts"
import { START_MS } from "../support/fake-clock.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../support/identities.ts"
import type { LeafOptions, TestAuthorities } from "../support/identities.ts"
import { LyingGateway } from "../support/lying-gateway.ts"
import { WITHIN_MS } from "../support/members.ts"

const HOUR_MS = 60 * 60_000
const DAY_MS = 24 * HOUR_MS
const MEMBERS = ["connector", "worker"] as const
type Member = (typeof MEMBERS)[number]
const OTHER: Readonly<Record<Member, Member>> = { connector: "worker", worker: "connector" }

const never = (): AbortSignal => new AbortController().signal

/** What a leaf of the authorities makes for TLS, whether or not any verifier would take it. */
async function shown(authorities: TestAuthorities, options: LeafOptions): Promise<TlsIdentity> {
  const privateKey = options.privateKey ?? await testKey(5)
  return { certificatePem: toPem(await authorities.leaf({ ...options, privateKey })), keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() }
}

async function selfSigned(role: "connector" | "worker" | "gateway"): Promise<TlsIdentity> {
  const privateKey = await testKey(5)
  const uri = formatSpiffeId({ trustDomain: TRUST_DOMAIN, role, tenant: role === "gateway" ? null : "acme", name: `${role}-1` })
  const certificate = await issueRoot({ privateKey, commonName: `${role}-1`, uri, serial: testSerial(), notBeforeMs: START_MS - HOUR_MS, notAfterMs: START_MS + HOUR_MS })
  return { certificatePem: toPem(certificate), keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() }
}

type Make = (authorities: TestAuthorities, foreign: TestAuthorities) => Promise<TlsIdentity | undefined>

/** Certificates that no upgrade may pass, each with the reason that must be named. */
function badCertificates(role: Member): readonly (readonly [string, ErrorCode, Make])[] {
  const of = (options: Partial<LeafOptions>): Make => (authorities) => shown(authorities, { role, ...options })
  return [
    ["none", "ERR_CERT_MISSING", () => Promise.resolve(undefined)],
    ["an expired one", "ERR_CERT_EXPIRED", of({ notAfterMs: START_MS })],
    ["one that is not yet valid", "ERR_CERT_NOT_YET_VALID", of({ notBeforeMs: START_MS + 1_000 })],
    ["a self-signed one", "ERR_CERT_SELF_SIGNED", () => selfSigned(role)],
    ["one of another authority", "ERR_CERT_AUTHORITY", (_, foreign) => shown(foreign, { role })],
    [`a ${OTHER[role]}'s`, "ERR_CERT_ROLE", of({ role: OTHER[role] })],
    ["a gateway's", "ERR_CERT_ROLE", of({ role: "gateway" })],
    [`one that the ${OTHER[role]} authority signed`, "ERR_CERT_ROLE", of({ signedBy: OTHER[role] })],
    ["one that the gateway authority signed", "ERR_CERT_ROLE", of({ signedBy: "gateway" })],
    ["one of another trust domain", "ERR_CERT_MALFORMED", of({ uri: `spiffe://elsewhere.example/tenant/acme/${role}/${role}-1` })],
  ]
}

/** A TLS 1.3 connection, and the ticket with which it can be resumed. */
async function connectWithTicket({ port }: GatewayAddress, identity: TlsIdentity | undefined, session?: Buffer): Promise<{ stream: TLSSocket; ticket: Promise<Buffer> }> {
  const stream = connect({
    host: "127.0.0.1", port, ALPNProtocols: ["http/1.1"], minVersion: "TLSv1.3", rejectUnauthorized: false,
    ...(identity ? { cert: identity.certificatePem, key: identity.keyPem } : {}), ...(session ? { session } : {}),
  })
  const ticket = new Promise<Buffer>((resolve) => { stream.once("session", resolve) })
  await new Promise<void>((resolve, reject) => { stream.once("secureConnect", resolve).once("error", reject) })
  return { stream, ticket }
}

const refused = (attempt: Promise<unknown>, code: ErrorCode): Promise<void> => assert.rejects(attempt, { name: "EkeyError", code })

describe("A gateway, at each upgrade", () => {
  let scene: CloudScene
  let authorities: TestAuthorities
  let foreign: TestAuthorities

  before(async () => {
    authorities = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
  })
  beforeEach(async () => { scene = await CloudScene.open({ authorities }) })
  afterEach(async () => { await scene.close() })

  /** The gateway's log has the reason, beside the path that was asked for. */
  const isLogged = (code: ErrorCode, role: Member): void => {
    const last = scene.log.of("upgrade refused").at(-1)
    assert.deepEqual([last?.fields["code"], last?.fields["path"], last?.level], [code, PATHS[role], "warn"])
  }

  const upgrade = (stream: TLSSocket, role: Member): Promise<unknown> => openWebSocket(stream, PATHS[role], "127.0.0.1")

  /** An upgrade over a connection that resumes an earlier one's session. */
  const upgradeResumed = async (identity: TlsIdentity | undefined, ticket: Buffer, role: Member): Promise<unknown> => {
    const { stream } = await connectWithTicket(scene.members.address, identity, ticket)
    assert.equal(stream.isSessionReused(), true)
    return await upgrade(stream, role)
  }

  for (const role of MEMBERS) {
    describe(`of a ${role}`, () => {
      for (const [name, code, make] of badCertificates(role)) {
        it(`refuses ${name} with ${code}, on a new TLS session and on a resumed one`, async () => {
          const identity = await make(authorities, foreign)
          const { stream, ticket } = await connectWithTicket(scene.members.address, identity)
          await refused(upgrade(stream, role), code)
          isLogged(code, role)
          await refused(upgradeResumed(identity, await ticket, role), code)
          isLogged(code, role)
          assert.equal(scene.log.of("upgrade refused").length, 2)
          assert.deepEqual(scene.log.of("peer connected"), [])
        })
      }

      it("accepts a good one, resumed or not", async () => {
        const identity = await shown(authorities, { role })
        const { stream, ticket } = await connectWithTicket(scene.members.address, identity)
        await upgrade(stream, role)
        await upgradeResumed(identity, await ticket, role)
        assert.equal(scene.log.of("peer connected").length, 2)
      })

      it("refuses one that was revoked, on a new TLS session and on one from before", async () => {
        const serial = testSerial()
        const identity = await shown(authorities, { role, serial })
        const before = await connectWithTicket(scene.members.address, identity)
        await upgrade(before.stream, role)
        const ticket = await before.ticket
        await scene.revoke(role, [serial])
        await refused(upgradeResumed(identity, ticket, role), "ERR_CERT_REVOKED")
        isLogged("ERR_CERT_REVOKED", role)
        const after = await connectWithTicket(scene.members.address, identity)
        await refused(upgrade(after.stream, role), "ERR_CERT_REVOKED")
      })

      it("refuses one that expired since its TLS session was made", async () => {
        const identity = await shown(authorities, { role, notAfterMs: START_MS + HOUR_MS })
        const { stream, ticket } = await connectWithTicket(scene.members.address, identity)
        await upgrade(stream, role)
        scene.clock.jump(HOUR_MS - 1)
        await upgradeResumed(identity, await ticket, role)
        scene.clock.jump(1)
        await refused(upgradeResumed(identity, await ticket, role), "ERR_CERT_EXPIRED")
        isLogged("ERR_CERT_EXPIRED", role)
      })

      it("refuses a good one while the authority's list is stale, resumed or not", async () => {
        const identity = await shown(authorities, { role, notAfterMs: START_MS + 10 * DAY_MS })
        const { stream, ticket } = await connectWithTicket(scene.members.address, identity)
        await upgrade(stream, role)
        scene.silence(role)
        scene.clock.jump(DAY_MS)
        await refused(upgradeResumed(identity, await ticket, role), "ERR_REVOCATION_STALE")
        isLogged("ERR_REVOCATION_STALE", role)
        const again = await connectWithTicket(scene.members.address, identity)
        await refused(upgrade(again.stream, role), "ERR_REVOCATION_STALE")
      })

      it(`refuses one that moves to the path of a ${OTHER[role]} on its resumed TLS session`, async () => {
        const identity = await shown(authorities, { role })
        const { stream, ticket } = await connectWithTicket(scene.members.address, identity)
        await upgrade(stream, role)
        await refused(upgradeResumed(identity, await ticket, OTHER[role]), "ERR_CERT_ROLE")
        isLogged("ERR_CERT_ROLE", OTHER[role])
      })

      it("tells the client the reason, whose own log has it too", async () => {
        const serial = testSerial()
        await scene.revoke(role, [serial])
        const identity = await scene.members.identity(role, { serial })
        const { log } = role === "connector" ? await scene.members.connector({ identity }) : await scene.members.worker({ identity })
        const { fields } = await log.first("link rejected")
        assert.equal(fields["code"], "ERR_CERT_REVOKED")
      })

      it("gives a refused peer nothing but the refusal", async () => {
        const { stream } = await connectWithTicket(scene.members.address, undefined)
        stream.write(`GET ${PATHS[role]} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ekey.v1\r\n\r\n`)
        const chunks: Buffer[] = []
        for await (const chunk of stream) {
          assert.ok(Buffer.isBuffer(chunk))
          chunks.push(chunk)
        }
        assert.equal(Buffer.concat(chunks).toString(), "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\nx-ekey-error: ERR_CERT_MISSING\r\n\r\n")
      })

      it("ends its link at the certificate's end", async () => {
        const identity = await scene.members.identity(role, { notAfterMs: START_MS + 20_000 })
        const { log } = role === "connector" ? await scene.members.connector({ identity }) : await scene.members.worker({ identity })
        await log.first("link ready")
        const lost = log.next("link lost")
        await scene.clock.tick(19_999)
        assert.deepEqual(scene.log.of("link ended"), [])
        await scene.clock.tick(1)
        const { fields } = await scene.log.first("link ended")
        assert.deepEqual([fields["code"], fields["peerRole"], fields["peerName"]], ["ERR_CERT_EXPIRED", role, `${role}-1`])
        assert.deepEqual((await lost).fields, { closeCode: CLOSE_CODES.identity, reason: "ERR_CERT_EXPIRED", stable: false })
      })

      it("ends its link as soon as its certificate is revoked, and lets it in no more", async () => {
        const identity = await scene.members.identity(role)
        const { log } = role === "connector" ? await scene.members.connector({ identity }) : await scene.members.worker({ identity })
        await log.first("link ready")
        const lost = log.next("link lost")
        await scene.revoke(role, [identity.serial])
        assert.deepEqual((await lost).fields, { closeCode: CLOSE_CODES.identity, reason: "ERR_CERT_REVOKED", stable: false })
        assert.equal((await scene.log.first("link ended")).fields["code"], "ERR_CERT_REVOKED")
        await scene.clock.tick(1_000)
        assert.equal((await log.first("link rejected")).fields["code"], "ERR_CERT_REVOKED")
      })

      it("ends its link when the authority's list has become stale", async () => {
        const identity = await scene.members.identity(role, { notAfterMs: START_MS + 10 * DAY_MS })
        const { log } = role === "connector" ? await scene.members.connector({ identity }) : await scene.members.worker({ identity })
        await log.first("link ready")
        scene.silence(role)
        scene.clock.jump(DAY_MS)
        await scene.clock.tick(30_000)
        const { fields } = await scene.log.first("link ended")
        assert.deepEqual([fields["code"], fields["peerRole"]], ["ERR_REVOCATION_STALE", role])
      })
    })
  }
})

describe("A client, before it says anything to a gateway", () => {
  let authorities: TestAuthorities
  let foreign: TestAuthorities

  before(async () => {
    authorities = await mintAuthorities()
    foreign = await mintAuthorities({ firstKey: 110 })
  })

  const open: LyingGateway[] = []
  afterEach(async () => {
    for (const gateway of open.splice(0)) await gateway.close()
  })

  /** A gateway that shows another certificate than its own. */
  const gatewayShowing = async (instead: Partial<TlsIdentity>): Promise<LyingGateway> => {
    const identity: LocalIdentity = { ...await authorities.identity({ role: "gateway", notAfterMs: START_MS + 10 * DAY_MS }), ...instead }
    const gateway = await LyingGateway.open({ authorities, identity })
    open.push(gateway)
    return gateway
  }

  const of = (options: Partial<LeafOptions>, from: () => TestAuthorities = () => authorities) => () => shown(from(), { role: "gateway", ...options })
  const rows: readonly (readonly [string, ErrorCode, () => Promise<TlsIdentity>])[] = [
    ["that expired", "ERR_CERT_EXPIRED", of({ notAfterMs: START_MS })],
    ["that is not yet valid", "ERR_CERT_NOT_YET_VALID", of({ notBeforeMs: START_MS + 1_000 })],
    ["that is self-signed", "ERR_CERT_SELF_SIGNED", () => selfSigned("gateway")],
    ["of another authority", "ERR_CERT_AUTHORITY", of({}, () => foreign)],
    ["of a connector", "ERR_CERT_ROLE", of({ role: "connector" })],
    ["of a worker", "ERR_CERT_ROLE", of({ role: "worker" })],
    ["that the connector authority signed", "ERR_CERT_ROLE", of({ signedBy: "connector" })],
    ["that the worker authority signed", "ERR_CERT_ROLE", of({ signedBy: "worker" })],
    ["of another trust domain", "ERR_CERT_MALFORMED", of({ uri: "spiffe://elsewhere.example/gateway/gateway-1" })],
  ]

  for (const role of MEMBERS) {
    const start = async (gateway: LyingGateway): Promise<EventLog> => (role === "connector" ? await gateway.members.connector() : await gateway.members.worker()).log

    /** Dials as a member does, and counts what is said to the gateway. */
    const dial = async (gateway: LyingGateway): Promise<{ attempt: Promise<unknown>; greetings: () => number }> => {
      const identity = await gateway.members.identity(role)
      let greetings = 0
      const attempt = createGatewayDial({
        address: gateway.members.address, path: PATHS[role], identity: () => identity, handlers: {},
        revocations: new RevocationLists({ trust: identity.trust, clock: gateway.clock }),
        hello: (peer) => {
          greetings += 1
          return role === "connector"
            ? peer.call("connector.hello", { instance: "AAAAAAAAAAAAAAAAAAAAAA", software: "test" }, WITHIN_MS)
            : peer.call("worker.hello", { instance: "AAAAAAAAAAAAAAAAAAAAAA", software: "test", serves: null }, WITHIN_MS)
        },
        clock: gateway.clock, random: () => 0.5, log: new EventLog(),
      })(never())
      return { attempt, greetings: () => greetings }
    }

    describe(`as a ${role}`, () => {
      for (const [name, code, make] of rows) {
        it(`refuses a certificate ${name} with ${code}`, async () => {
          const gateway = await gatewayShowing(await make())
          const { attempt, greetings } = await dial(gateway)
          await refused(attempt, code)
          assert.equal(greetings(), 0)
          const log = await start(gateway)
          assert.equal((await log.first("link rejected")).fields["code"], code)
          assert.deepEqual(log.of("link ready"), [])
        })
      }

      it("accepts the real one", async () => {
        const gateway = await gatewayShowing({})
        await (await dial(gateway)).attempt
      })

      it("refuses one that was revoked, right after the hello that brings the list", async () => {
        const gateway = await gatewayShowing({})
        gateway.lists = await gateway.signLists({ gateway: [gateway.identity.serial] })
        await refused((await dial(gateway)).attempt, "ERR_CERT_REVOKED")
        assert.equal((await (await start(gateway)).first("link rejected")).fields["code"], "ERR_CERT_REVOKED")
      })

      it("refuses one that brings no list, an old list, or a list of its own making", async () => {
        const gateway = await gatewayShowing({})
        gateway.lists = []
        await refused((await dial(gateway)).attempt, "ERR_REVOCATION_STALE")
        gateway.lists = [await authorities.revocationList("gateway", [], { issuedAtMs: START_MS - DAY_MS, nextUpdateMs: START_MS })]
        await refused((await dial(gateway)).attempt, "ERR_REVOCATION_STALE")
        gateway.lists = [await authorities.revocationList("gateway", [], { signature: Buffer.alloc(256, 1).toString("base64url") })]
        await refused((await dial(gateway)).attempt, "ERR_REVOCATION_INVALID")
        gateway.lists = [await foreign.revocationList("gateway")]
        await refused((await dial(gateway)).attempt, "ERR_REVOCATION_INVALID")
      })

      it("ends the link at the end of the gateway's certificate", async () => {
        const gateway = await gatewayShowing(await shown(authorities, { role: "gateway", notAfterMs: START_MS + 20_000 }))
        const log = await start(gateway)
        await log.first("link ready")
        await gateway.clock.tick(19_999)
        assert.deepEqual(log.of("link ended"), [])
        await gateway.clock.tick(1)
        const { fields } = await log.first("link ended")
        assert.deepEqual([fields["code"], fields["peerRole"]], ["ERR_CERT_EXPIRED", "gateway"])
        await log.first("link lost")
      })

      it("ends the link as soon as it learns that the gateway's certificate was revoked", async () => {
        const gateway = await gatewayShowing({})
        const log = await start(gateway)
        await log.first("link ready")
        const lists = await gateway.signLists({ gateway: [gateway.identity.serial] })
        await gateway.publish(lists).catch(() => undefined) // The link may be gone before the answer.
        assert.equal((await log.first("link ended")).fields["code"], "ERR_CERT_REVOKED")
        await log.first("link lost")
      })

      it("ends the link when the gateway brings no newer list for a day", async () => {
        const gateway = await gatewayShowing(await shown(authorities, { role: "gateway", notAfterMs: START_MS + 10 * DAY_MS }))
        const log = await start(gateway)
        await log.first("link ready")
        gateway.clock.jump(DAY_MS)
        await gateway.clock.tick(30_000)
        assert.equal((await log.first("link ended")).fields["code"], "ERR_REVOCATION_STALE")
      })
    })
  }

  it("resumes no TLS session, since a resumed one shows no certificate to judge", async () => {
    const { certificatePem, keyPem } = await authorities.identity({ role: "gateway" })
    const resumed: boolean[] = []
    const server = createServer({ cert: certificatePem, key: keyPem, minVersion: "TLSv1.3", ALPNProtocols: ["http/1.1"] }, (stream) => {
      resumed.push(stream.isSessionReused())
      stream.on("error", () => undefined).end("x")
    })
    await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve) })
    const { port } = server.address() as AddressInfo
    try {
      for (let turn = 0; turn < 3; turn++) {
        const stream = await connectTls({ host: "127.0.0.1", port }, undefined, never())
        assert.ok(stream.getPeerX509Certificate())
        for await (const chunk of stream) assert.ok(chunk) // To its end: tickets come with the first data.
      }
    } finally {
      server.close()
    }
    assert.deepEqual(resumed, [false, false, false])
  })
})
