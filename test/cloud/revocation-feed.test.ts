import assert from "node:assert/strict"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Authorities } from "../../src/cloud/authorities.ts"
import { Registry } from "../../src/cloud/registry.ts"
import { RevocationFeed } from "../../src/cloud/revocation-feed.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { serveLocal } from "../../src/wire/rpc/local-socket.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { mintAuthorities } from "../support/identities.ts"
import type { TestAuthorities } from "../support/identities.ts"
import { requirePlatform } from "../support/requirements.ts"
import { until } from "../support/until.ts"
import { openMember } from "../support/wire-members.ts"

const REVOKED = "4".repeat(32)

describe("The revocation feed", () => {
  let minted: TestAuthorities
  let folder: string
  let clock: FakeClock
  let log: EventLog
  let lists: Record<Role, RevocationList>
  let authorities: Authorities
  let revocations: RevocationLists
  let connectors: Registry
  let workers: Registry
  let feed: RevocationFeed
  const servers = new Map<Role, { close(): Promise<void> }>()

  before(async function () {
    requirePlatform(this, ["linux", "darwin"], "local sockets are files")
    minted = await mintAuthorities()
  })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-feed-"))
    clock = new FakeClock()
    log = new EventLog()
    lists = { gateway: await minted.revocationList("gateway"), connector: await minted.revocationList("connector"), worker: await minted.revocationList("worker") }
    const socket = (role: Role): string => join(folder, role)
    for (const role of ["gateway", "connector", "worker"] as const) {
      servers.set(role, await serveLocal({ path: socket(role), methods: METHODS, handlers: { "revocation.current": async () => ({ list: lists[role] }) }, clock, log }))
    }
    authorities = new Authorities({ sockets: { gateway: socket("gateway"), connector: socket("connector"), worker: socket("worker") }, clock, log })
    revocations = new RevocationLists({ trust: minted.trust, clock })
    connectors = new Registry()
    workers = new Registry()
    feed = new RevocationFeed({ authorities, revocations, registries: [connectors, workers], clock, log })
  })
  afterEach(async () => {
    await authorities.close()
    for (const server of servers.values()) await server.close()
    servers.clear()
    await rm(folder, { recursive: true })
  })

  it("fetches every authority's list", async () => {
    await feed.refresh()
    assert.deepEqual(revocations.current().map(({ role }) => role).sort(), ["connector", "gateway", "worker"])
  })

  it("passes a newer list on to everybody who is connected, and each list once", async () => {
    const told: string[] = []
    const listening = (name: string) => ({ clock, name, handlers: { "revocation.update": async ({ revocations: given }: { revocations: RevocationList[] }) => { told.push(`${name} ${given.map(({ role, serials }) => role + String(serials.length)).join()}`); return {} } } })
    await feed.refresh()
    connectors.add((await openMember(listening("c"))).member)
    workers.add((await openMember(listening("w"))).member)
    await feed.refresh()
    assert.deepEqual(told, [])
    lists.worker = await minted.revocationList("worker", [REVOKED])
    await feed.refresh()
    await until("both are told", () => told.length === 2)
    assert.deepEqual(told.sort(), ["c worker1", "w worker1"])
    assert.equal(revocations.isRevoked("worker", REVOKED), true)
  })

  it("goes on without an authority that is away, and without one that lies", async () => {
    await feed.refresh()
    const forged = { ...await minted.revocationList("connector"), serials: [REVOKED] }
    lists.connector = forged
    await servers.get("gateway")?.close()
    lists.worker = await minted.revocationList("worker", [REVOKED])
    await until("the connection's end", async () => {
      await feed.refresh()
      return log.of("revocation list not refreshed").length >= 2
    })
    const codes = new Map(log.of("revocation list not refreshed").map(({ fields }) => [fields["role"], fields["code"]]))
    assert.equal(codes.get("connector"), "ERR_REVOCATION_INVALID")
    assert.ok(codes.has("gateway"))
    assert.equal(revocations.isRevoked("connector", REVOKED), false)
    assert.equal(revocations.isRevoked("worker", REVOKED), true)
    servers.delete("gateway")
  })

  it("asks again every five seconds until it is stopped", async () => {
    const stop = new AbortController()
    const running = feed.run(stop.signal)
    await clock.sleeping()
    lists.worker = await minted.revocationList("worker", [REVOKED])
    await clock.tick(4_999)
    assert.equal(revocations.isRevoked("worker", REVOKED), false)
    await clock.tick(1)
    await clock.sleeping()
    assert.equal(revocations.isRevoked("worker", REVOKED), true)
    stop.abort()
    await running
  })

  it("logs who could not be told", async () => {
    await feed.refresh()
    connectors.add((await openMember({ clock, name: "deaf", handlers: { "revocation.update": () => new Promise(() => undefined) } })).member)
    lists.worker = await minted.revocationList("worker", [REVOKED])
    await feed.refresh()
    await clock.tick(5_000)
    assert.deepEqual(log.fieldOf("revocation list not passed on", "peer"), ["deaf"])
  })
})
