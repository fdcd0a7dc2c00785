import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import { OpenOperations } from "../../src/cloud/operations.ts"
import { openDatabase } from "../../src/cloud/storage/database.ts"
import type { Database } from "../../src/cloud/storage/database.ts"
import type { Outcome } from "../../src/wire/messages/operation.ts"
import { FakeClock } from "../support/fake-clock.ts"

const BEGIN = { product: "microsoft-365", workflow: "backup.manual", run: null } as const
const DONE: Outcome = { state: "succeeded", exitCode: 0, statistics: {} }
const UNKNOWN = { code: "ERR_OPERATION", message: "no such operation" }

describe("Open operations", () => {
  let database: Database
  let operations: OpenOperations
  beforeEach(async () => {
    database = await openDatabase({ file: ":memory:", clock: new FakeClock() })
    operations = new OpenOperations(database.operations)
  })
  afterEach(async () => { await database.close() })

  it("are stored when they begin, and found by the worker that began them", async () => {
    const id = await operations.begin("acme", "w-1", BEGIN)
    assert.match(id, /^[A-Za-z0-9_-]{22}$/)
    assert.equal(operations.get("acme", "w-1", id, "backup.manual").releases, 0)
    assert.deepEqual((await database.operations.find("acme", id))?.state, "open")
  })

  it("have ids of their own", async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, () => operations.begin("acme", "w-1", BEGIN)))
    assert.equal(new Set(ids).size, 50)
  })

  it("look alike when they are unknown, ended, another worker's, another tenant's, or of another workflow", async () => {
    const id = await operations.begin("acme", "w-1", BEGIN)
    const ended = await operations.begin("acme", "w-1", BEGIN)
    await operations.end("acme", "w-1", { operation: ended, outcome: DONE })
    const tries = [
      () => operations.get("acme", "w-1", "AAAAAAAAAAAAAAAAAAAAAA", "backup.manual"),
      () => operations.get("acme", "w-1", ended, "backup.manual"),
      () => operations.get("acme", "w-2", id, "backup.manual"),
      () => operations.get("other", "w-1", id, "backup.manual"),
      () => operations.get("acme", "w-1", id, "restore.admin.copy"),
      () => operations.get("acme", "w-1", "__proto__", "backup.manual"),
    ]
    for (const attempt of tries) assert.throws(attempt, UNKNOWN)
  })

  it("are ended with their outcome and the number of releases, once: the same end again changes nothing, another is refused", async () => {
    const id = await operations.begin("acme", "w-1", BEGIN)
    operations.get("acme", "w-1", id, "backup.manual").releases = 3
    const outcome: Outcome = { state: "failed", exitCode: 1, reason: "ERR_JOB_FAILED", detail: "" }
    await operations.end("acme", "w-1", { operation: id, outcome })
    const stored = await database.operations.find("acme", id)
    assert.deepEqual([stored?.state, stored?.reason, stored?.releases], ["failed", "ERR_JOB_FAILED", 3])
    // Its answer may have been lost, also in a restart.
    await operations.end("acme", "w-1", { operation: id, outcome })
    await new OpenOperations(database.operations).end("acme", "w-1", { operation: id, outcome })
    assert.deepEqual(await database.operations.find("acme", id), stored)
    await assert.rejects(operations.end("acme", "w-1", { operation: id, outcome: DONE }), { code: "ERR_OPERATION" })
  })

  it("are ended by their own worker alone, and go on otherwise", async () => {
    const id = await operations.begin("acme", "w-1", BEGIN)
    for (const [tenant, worker] of [["acme", "w-2"], ["other", "w-1"]] as const) {
      await assert.rejects(operations.end(tenant, worker, { operation: id, outcome: DONE }), { code: "ERR_OPERATION" })
    }
    assert.ok(operations.get("acme", "w-1", id, "backup.manual"))
  })

  it("are there again after a restart once their worker is back, and only its own", async () => {
    const mine = await operations.begin("acme", "w-1", BEGIN)
    const others = await operations.begin("acme", "w-2", BEGIN)
    const again = new OpenOperations(database.operations)
    assert.throws(() => again.get("acme", "w-1", mine, "backup.manual"), UNKNOWN)
    await again.restore("acme", "w-1")
    assert.ok(again.get("acme", "w-1", mine, "backup.manual"))
    assert.throws(() => again.get("acme", "w-2", others, "backup.manual"), UNKNOWN)
  })

  it("are at most 1,000 for each worker, until it ends one", async () => {
    const ids: string[] = []
    while (ids.length < 1_000) ids.push(await operations.begin("acme", "w-1", BEGIN))
    await assert.rejects(operations.begin("acme", "w-1", BEGIN), (error) => error instanceof EkeyError && error.code === "ERR_OVERLOADED" && error.retryable)
    for (const [tenant, worker] of [["acme", "w-2"], ["other", "w-1"]] as const) await operations.begin(tenant, worker, BEGIN)
    await operations.end("acme", "w-1", { operation: ids[0] ?? "", outcome: DONE })
    await operations.begin("acme", "w-1", BEGIN)
  })

  it("keep their count when their worker only reconnects", async () => {
    const id = await operations.begin("acme", "w-1", BEGIN)
    operations.get("acme", "w-1", id, "backup.manual").releases = 2
    await operations.restore("acme", "w-1")
    assert.equal(operations.get("acme", "w-1", id, "backup.manual").releases, 2)
  })
})
