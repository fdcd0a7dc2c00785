import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import { ConnectorCustodian } from "../../src/cloud/custody/connector-custodian.ts"
import { Registry } from "../../src/cloud/registry.ts"
import type { WireHandlers } from "../../src/wire/link/gateway-link.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { openMember } from "../support/wire-members.ts"
import type { TestMember } from "../support/wire-members.ts"

const ID = "AAAAAAAAAAAAAAAAAAAAAA"
const BYTES_32 = "A".repeat(43)
const OFFER = { certificate: "MIIB", kemPublicKey: BYTES_32, nonce: ID, issuedAtMs: 0, signature: "MIIB" }
const HOUR_MS = 60 * 60_000

describe("The custodian by connector", () => {
  let clock: FakeClock
  let connectors: Registry
  let random: number
  let custodian: ConnectorCustodian
  let asked: string[]

  beforeEach(() => {
    clock = new FakeClock()
    connectors = new Registry()
    random = 0
    asked = []
    custodian = new ConnectorCustodian({ connectors, clock, random: () => random })
  })

  const session = (of: string): string => Buffer.alloc(16, of).toString("base64url")
  const ask = (id: string) => ({ operation: ID, session: id, sequence: 1, workflow: "backup.manual", reason: "", proof: BYTES_32, user: "u", version: null } as const)

  /** A connector whose session has an id made of its name. */
  async function join(name: string, options: { tenant?: string; handlers?: WireHandlers } = {}): Promise<TestMember> {
    const { tenant = "acme", handlers = {} } = options
    const joined = await openMember({
      clock, tenant, name,
      handlers: {
        "session.open": async () => {
          asked.push(`${name} opens`)
          return { session: session(name), certificate: "MIIB", encapsulatedKey: BYTES_32, expiresAtMs: clock.now() + HOUR_MS, signature: "MIIB" }
        },
        "ekey.release": async () => {
          asked.push(`${name} releases`)
          return { version: 1, expiresAtMs: 1, sealed: "A".repeat(64) }
        },
        "ekey.releaseMany": async () => ({ expiresAtMs: 1, sealed: "MIIB" }),
        "ekey.provision": async () => ({ version: 1, created: true }),
        ...handlers,
      },
    })
    connectors.add(joined.member)
    return joined
  }

  it("is absent without a connector: ERR_NO_CONNECTOR, which may be retried", async () => {
    await join("elsewhere", { tenant: "other" })
    for (const attempt of [custodian.openSession("acme", OFFER, 1_000), custodian.provision("acme", "u", 1_000)]) {
      await assert.rejects(attempt, (error) => error instanceof EkeyError && error.code === "ERR_NO_CONNECTOR" && error.retryable)
    }
  })

  it("asks one connector of the tenant, each in its turn", async () => {
    await join("a")
    await join("b")
    await custodian.openSession("acme", OFFER, 1_000)
    random = 0.99
    await custodian.openSession("acme", OFFER, 1_000)
    assert.deepEqual(asked, ["a opens", "b opens"])
    assert.deepEqual(await custodian.provision("acme", "u", 1_000), { version: 1, created: true })
  })

  it("takes a request to the connector that its session is with", async () => {
    await join("a")
    await join("b")
    await custodian.openSession("acme", OFFER, 1_000)
    random = 0.99
    await custodian.openSession("acme", OFFER, 1_000)
    random = 0
    await custodian.release("acme", ask(session("b")), 1_000)
    await custodian.release("acme", ask(session("a")), 1_000)
    assert.deepEqual(asked.slice(2), ["b releases", "a releases"])
    assert.deepEqual(await custodian.releaseMany("acme", { operation: ID, session: session("b"), sequence: 2, workflow: "backup.manual", reason: "", proof: BYTES_32, users: ["u"] }, 1_000), { expiresAtMs: 1, sealed: "MIIB" })
  })

  it("knows no session of another tenant, nor one that nobody opened", async () => {
    await join("a")
    await join("b", { tenant: "other" })
    await custodian.openSession("acme", OFFER, 1_000)
    for (const [tenant, id] of [["other", session("a")], ["acme", ID], ["acme", "__proto__"]] as const) {
      await assert.rejects(custodian.release(tenant, ask(id), 1_000), (error) => error instanceof EkeyError && error.code === "ERR_SESSION" && error.retryable)
    }
    assert.deepEqual(asked, ["a opens"])
  })

  it("ends a session with its connector's connection, and when its time is over", async () => {
    const a = await join("a")
    await custodian.openSession("acme", OFFER, 1_000)
    a.far.close(1000, "done")
    await a.member.peer.closed
    await assert.rejects(custodian.release("acme", ask(session("a")), 1_000), { code: "ERR_SESSION" })
    await join("a")
    await custodian.openSession("acme", OFFER, 1_000)
    clock.jump(HOUR_MS - 1)
    await custodian.release("acme", ask(session("a")), 1_000)
    clock.jump(1)
    await assert.rejects(custodian.release("acme", ask(session("a")), 1_000), { code: "ERR_SESSION" })
  })

  it("gives a connector that hangs so long that ERR_DEADLINE still comes in time", async () => {
    await join("a", { handlers: { "ekey.release": () => new Promise(() => undefined) } })
    await custodian.openSession("acme", OFFER, 1_000)
    const ends: unknown[] = []
    void custodian.release("acme", ask(session("a")), 1_000).catch((error: unknown) => ends.push(error))
    await clock.tick(979)
    assert.equal(ends.length, 0)
    await clock.tick(1)
    const [end] = ends
    assert.ok(end instanceof EkeyError)
    assert.deepEqual([end.code, end.retryable], ["ERR_DEADLINE", true])
  })

  it("says ERR_LINK_LOST when the connector goes in the middle of a request", async () => {
    const a = await join("a", { handlers: { "ekey.provision": () => new Promise(() => undefined) } })
    const refused = assert.rejects(custodian.provision("acme", "u", 1_000), (error) => error instanceof EkeyError && error.code === "ERR_LINK_LOST" && error.retryable)
    a.far.close(1000, "done")
    await refused
  })

  it("passes a connector's own refusal on", async () => {
    await join("a", { handlers: { "ekey.provision": () => Promise.reject(new EkeyError("ERR_NOT_DURABLE", "not yet")) } })
    await assert.rejects(custodian.provision("acme", "u", 1_000), { code: "ERR_NOT_DURABLE" })
  })
})
