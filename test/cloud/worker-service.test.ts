import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import type { Custodian } from "../../src/cloud/custody/custodian.ts"
import { OpenOperations } from "../../src/cloud/operations.ts"
import { Registry } from "../../src/cloud/registry.ts"
import { Scheduler } from "../../src/cloud/scheduler.ts"
import { openDatabase } from "../../src/cloud/storage/database.ts"
import type { Database } from "../../src/cloud/storage/database.ts"
import { createWorkerHandlers } from "../../src/cloud/worker-service.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { RpcPeer } from "../../src/wire/rpc/peer.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { FakeCron } from "../support/fake-cron.ts"
import { PipeEnd } from "../support/frame-pipe.ts"

const ID = "AAAAAAAAAAAAAAAAAAAAAA"
const BYTES_32 = "A".repeat(43)
const BEGIN = { product: "endpoint", workflow: "backup.manual", run: null } as const
const OFFER = { certificate: "MIIB", kemPublicKey: BYTES_32, nonce: ID, issuedAtMs: 0, signature: "MIIB" }
const RELEASED = { version: 1, expiresAtMs: 1, sealed: "A".repeat(64) }

describe("What the gateway answers to a worker", () => {
  let clock: FakeClock
  let database: Database
  let scheduler: Scheduler
  let operations: OpenOperations
  let asked: { tenant: string; what: string; remainingMs: number }[]
  let custodian: Custodian

  beforeEach(async () => {
    clock = new FakeClock()
    database = await openDatabase({ file: ":memory:", clock })
    operations = new OpenOperations(database.operations)
    scheduler = new Scheduler({ schedules: database.schedules, runs: database.runs, users: database.users, workers: new Registry(), cron: new FakeCron(), clock, random: () => 0, log: new EventLog() })
    asked = []
    const note = (tenant: string, what: string, remainingMs: number): void => { asked.push({ tenant, what, remainingMs }) }
    custodian = {
      openSession: async (tenant, _params, remainingMs) => { note(tenant, "session", remainingMs); return { session: ID, certificate: "MIIB", encapsulatedKey: BYTES_32, expiresAtMs: 1, signature: "MIIB" } },
      release: async (tenant, params, remainingMs) => { note(tenant, params.user, remainingMs); return RELEASED },
      releaseMany: async (tenant, params, remainingMs) => { note(tenant, params.users.join(), remainingMs); return { expiresAtMs: 1, sealed: "MIIB" } },
      provision: async () => { throw new EkeyError("ERR_INTERNAL", "not a worker's") },
    }
  })
  afterEach(async () => { await database.close() })

  /** The worker's end of its conversation with the gateway. */
  function connect(tenant = "acme", worker = "w-1"): WirePeer {
    const [near, far] = PipeEnd.pair()
    const options = { methods: METHODS, clock, log: new EventLog() }
    new RpcPeer({ ...options, socket: near, handlers: createWorkerHandlers({ tenant, worker, custodian, operations, scheduler }) })
    return new RpcPeer({ ...options, socket: far, handlers: {} })
  }
  const ask = (operation: string) => ({ operation, session: ID, sequence: 1, workflow: "backup.manual", reason: "", proof: BYTES_32 } as const)

  it("relays for the tenant of its certificate, with the time that is left", async () => {
    const peer = connect("acme")
    await peer.call("session.open", OFFER, 1_000)
    const { operation } = await peer.call("operation.begin", BEGIN, 1_000)
    assert.deepEqual(await peer.call("ekey.release", { ...ask(operation), user: "u", version: null }, 900), RELEASED)
    await peer.call("ekey.releaseMany", { ...ask(operation), users: ["u", "v"] }, 800)
    assert.deepEqual(asked, [
      { tenant: "acme", what: "session", remainingMs: 1_000 }, { tenant: "acme", what: "u", remainingMs: 900 }, { tenant: "acme", what: "u,v", remainingMs: 800 },
    ])
    await peer.call("operation.end", { operation, outcome: { state: "succeeded", exitCode: null, statistics: {} } }, 1_000)
    assert.equal((await database.operations.find("acme", operation))?.releases, 3)
  })

  it("releases nothing outside an operation of this very worker and workflow", async () => {
    const { operation } = await connect().call("operation.begin", BEGIN, 1_000)
    const refused = { code: "ERR_OPERATION" }
    await assert.rejects(connect().call("ekey.release", { ...ask(ID), user: "u", version: null }, 1_000), refused)
    await assert.rejects(connect("acme", "w-2").call("ekey.release", { ...ask(operation), user: "u", version: null }, 1_000), refused)
    await assert.rejects(connect("other").call("ekey.releaseMany", { ...ask(operation), users: ["u"] }, 1_000), refused)
    await assert.rejects(connect().call("ekey.release", { ...ask(operation), workflow: "restore.admin.copy", user: "u", version: null }, 1_000), refused)
    assert.deepEqual(asked, [])
  })

  it("refuses early what can't be answered in time, and asks nobody", async () => {
    const peer = connect()
    const { operation } = await peer.call("operation.begin", BEGIN, 1_000)
    for (const attempt of [
      peer.call("session.open", OFFER, 24), peer.call("ekey.release", { ...ask(operation), user: "u", version: null }, 24), peer.call("ekey.releaseMany", { ...ask(operation), users: ["u"] }, 1),
    ]) await assert.rejects(attempt, (error) => error instanceof EkeyError && error.code === "ERR_DEADLINE" && error.retryable)
    assert.deepEqual(asked, [])
    await peer.call("session.open", OFFER, 25)
    assert.equal(asked.length, 1)
  })

  it("keeps the order of requests on their way to the connector", async () => {
    const peer = connect()
    const { operation } = await peer.call("operation.begin", BEGIN, 1_000)
    await Promise.all(Array.from({ length: 20 }, (_, index) => peer.call("ekey.release", { ...ask(operation), sequence: index + 1, user: String(index), version: null }, 1_000)))
    assert.deepEqual(asked.map(({ what }) => what), Array.from({ length: 20 }, (_, index) => String(index)))
  })

  it("takes a report of its own runs alone", async () => {
    await database.runs.start({ id: ID, tenant: "acme", schedule: "nightly", user: "u", job: "documents" })
    await database.runs.assign(ID, "w-1")
    const report = { run: ID, outcome: { state: "succeeded", exitCode: 0, statistics: {} } } as const
    for (const peer of [connect("acme", "w-2"), connect("other", "w-1")]) await assert.rejects(peer.call("job.finished", report, 1_000), { code: "ERR_OPERATION" })
    await connect().call("job.finished", report, 1_000)
    assert.equal((await database.runs.find("acme", ID))?.state, "succeeded")
  })

  it("gives a worker none of a connector's or an admin's methods", async () => {
    const peer = connect()
    await assert.rejects(peer.call("ekey.provision", { user: "u" }, 1_000), { code: "ERR_METHOD" })
    await assert.rejects(peer.call("records.put", { records: [{ user: "u", version: 1, record: "MIIB" }] }, 1_000), { code: "ERR_METHOD" })
    await assert.rejects(peer.call("job.start", { run: ID, job: "documents", user: "u", product: "endpoint", workflow: "backup.manual", parameters: {} }, 1_000), { code: "ERR_METHOD" })
  })
})
