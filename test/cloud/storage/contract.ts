import assert from "node:assert/strict"
import type { Clock } from "../../../src/base/clock.ts"
import type { Database } from "../../../src/cloud/storage/database.ts"
import type { NewOperation } from "../../../src/cloud/storage/operations.ts"
import type { NewRun } from "../../../src/cloud/storage/runs.ts"
import type { NewSchedule } from "../../../src/cloud/storage/schedules.ts"
import { FakeClock, START_MS } from "../../support/fake-clock.ts"

const OPERATION: NewOperation = {
  tenant: "acme", id: "AAAAAAAAAAAAAAAAAAAAAA", worker: "worker-1", product: "microsoft-365", workflow: "backup.scheduled", run: null,
}
const SCHEDULE: NewSchedule = {
  tenant: "acme", name: "nightly", user: "user-1@acme.example", product: "microsoft-365", workflow: "backup.scheduled",
  job: "files", cron: "0 2 * * *", parameters: { folder: "a\"b", "": "ü" }, enabled: true,
}
const RUN: NewRun = { id: "run-1", tenant: "acme", schedule: "nightly", user: "user-1@acme.example", job: "files" }

function record(user: string, sealed: string, version = 1): { user: string; version: number; sealed: Uint8Array } {
  return { user, version, sealed: Buffer.from(sealed) }
}

/** Runs on every database. `open` gives an empty one each time. */
export function describeStorage(name: string, open: (clock: Clock) => Promise<Database>): void {
  describe(`cloud storage contract: ${name}`, () => {
    let clock: FakeClock
    let database: Database

    beforeEach(async () => {
      clock = new FakeClock()
      database = await open(clock)
    })

    afterEach(async () => { await database.close() })

    describe("users", () => {
      it("are provisioning until they are activated, and keep the time of their first mention", async () => {
        await database.users.add("acme", "user-1")
        assert.deepEqual(await database.users.find("acme", "user-1"), { tenant: "acme", user: "user-1", state: "provisioning", createdAtMs: START_MS })
        clock.jump(5)
        await database.users.add("acme", "user-1")
        await database.users.activate("acme", "user-1", 1)
        assert.deepEqual(await database.users.find("acme", "user-1"), { tenant: "acme", user: "user-1", state: "active", ekeyVersion: 1, createdAtMs: START_MS })
      })

      it("are not added again once active", async () => {
        await database.users.add("acme", "user-1")
        await database.users.activate("acme", "user-1", 1)
        await assert.rejects(database.users.add("acme", "user-1"), { code: "ERR_USER_EXISTS" })
        assert.equal((await database.users.find("acme", "user-1"))?.state, "active")
      })

      it("are activated once: the same version again changes nothing, another is refused", async () => {
        await database.users.add("acme", "user-1")
        await database.users.activate("acme", "user-1", 1)
        await database.users.activate("acme", "user-1", 1)
        await assert.rejects(database.users.activate("acme", "user-1", 2), { code: "ERR_USER_EXISTS" })
        const user = await database.users.find("acme", "user-1")
        assert.equal(user?.state === "active" ? user.ekeyVersion : null, 1)
      })

      it("can't be activated when unknown", async () => {
        await assert.rejects(database.users.activate("acme", "user-1", 1), { code: "ERR_USER_UNKNOWN" })
        assert.equal(await database.users.find("acme", "user-1"), null)
      })

      it("are one tenant's, even under the same name, and told apart byte by byte", async () => {
        await database.users.add("acme", "user-1")
        await database.users.add("acme", "User-1")
        await database.users.add("other", "user-1")
        await database.users.activate("acme", "user-1", 1)
        assert.equal((await database.users.find("other", "user-1"))?.state, "provisioning")
        assert.equal((await database.users.find("acme", "User-1"))?.state, "provisioning")
        assert.deepEqual(new Set((await database.users.list("acme")).map((user) => user.user)), new Set(["User-1", "user-1"]))
        assert.deepEqual((await database.users.list("other")).map((user) => user.user), ["user-1"])
        assert.deepEqual(await database.users.list("nobody"), [])
      })
    })

    describe("records", () => {
      it("come back byte for byte, numbered from 1 in the order of arrival", async () => {
        const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte)
        await database.records.put("acme", [record("user-2", "b"), { user: "user-1", version: 1, sealed: everyByte }])
        clock.jump(7)
        await database.records.put("acme", [record("user-1", "c", 2)])
        const stored = await database.records.since("acme", 0, 10)
        assert.deepEqual(stored.map(({ user, version, sequence, createdAtMs }) => ({ user, version, sequence, createdAtMs })), [
          { user: "user-2", version: 1, sequence: 1, createdAtMs: START_MS },
          { user: "user-1", version: 1, sequence: 2, createdAtMs: START_MS },
          { user: "user-1", version: 2, sequence: 3, createdAtMs: START_MS + 7 },
        ])
        assert.deepEqual(stored.map(({ sealed }) => Buffer.from(sealed).toString("hex")), ["62", Buffer.from(everyByte).toString("hex"), "63"])
      })

      it("are read on from a sequence, up to a limit", async () => {
        await database.records.put("acme", ["a", "b", "c", "d"].map((user) => record(user, user)))
        assert.deepEqual((await database.records.since("acme", 1, 2)).map((stored) => stored.user), ["b", "c"])
        assert.deepEqual((await database.records.since("acme", 3, 2)).map((stored) => stored.user), ["d"])
        assert.deepEqual(await database.records.since("acme", 4, 2), [])
      })

      it("may be put again with the same bytes, which changes nothing and leaves no gap", async () => {
        assert.deepEqual(await database.records.put("acme", [record("a", "1"), record("b", "2")]), { stored: 2 })
        assert.deepEqual(await database.records.put("acme", [record("b", "2"), record("a", "1")]), { stored: 0 })
        assert.deepEqual(await database.records.put("acme", [record("b", "2"), record("c", "3"), record("c", "3")]), { stored: 1 })
        assert.deepEqual((await database.records.since("acme", 0, 10)).map(({ user, sequence }) => [user, sequence]), [["a", 1], ["b", 2], ["c", 3]])
        assert.equal(await database.records.count("acme"), 3)
      })

      it("are refused with other bytes, and nothing of the batch is stored", async () => {
        await database.records.put("acme", [record("b", "first")])
        for (const other of ["other", "firs", "first!", ""]) {
          await assert.rejects(database.records.put("acme", [record("a", "new"), record("b", other), record("c", "new")]), { code: "ERR_RECORD_CONFLICT" })
        }
        const stored = await database.records.since("acme", 0, 10)
        assert.deepEqual(stored.map(({ user, sealed }) => [user, Buffer.from(sealed).toString()]), [["b", "first"]])
        await database.records.put("acme", [record("a", "new")])
        assert.equal((await database.records.since("acme", 1, 10))[0]?.sequence, 2)
      })

      it("are refused when one batch offers two values for a version", async () => {
        await assert.rejects(database.records.put("acme", [record("a", "1"), record("a", "2")]), { code: "ERR_RECORD_CONFLICT" })
        assert.equal(await database.records.count("acme"), 0)
      })

      it("name the user of a conflict in the cause only: the message goes to peers", async () => {
        await database.records.put("acme", [record("user-1", "1")])
        await assert.rejects(database.records.put("acme", [record("user-1", "2")]), (error: Error) => {
          assert.doesNotMatch(error.message, /user-1|acme/)
          assert.match(String(error.cause), /user user-1, version 1/)
          return true
        })
      })

      it("take different values for different versions of one user", async () => {
        await database.records.put("acme", [record("a", "1", 1), record("a", "2", 2)])
        await database.records.put("acme", [record("a", "3", 3)])
        assert.equal(await database.records.count("acme"), 3)
      })

      it("are one tenant's: same users and versions, own values and own numbers", async () => {
        await database.records.put("acme", [record("a", "acme's"), record("b", "acme's")])
        await database.records.put("other", [record("a", "other's")])
        const others = await database.records.since("other", 0, 10)
        assert.deepEqual(others.map(({ user, sequence, sealed }) => [user, sequence, Buffer.from(sealed).toString()]), [["a", 1, "other's"]])
        assert.equal(await database.records.count("acme"), 2)
        assert.equal(await database.records.count("other"), 1)
        assert.equal(await database.records.count("nobody"), 0)
        await database.records.put("acme", [record("c", "acme's")])
        await database.records.put("other", [record("c", "other's")])
        assert.deepEqual((await database.records.since("acme", 2, 10)).map(({ user, sequence }) => [user, sequence]), [["c", 3]])
        assert.deepEqual((await database.records.since("other", 1, 10)).map(({ user, sequence }) => [user, sequence]), [["c", 2]])
      })

      it("get distinct numbers when many batches come at once", async () => {
        const batches = Array.from({ length: 20 }, (_, batch) => [record(`x-${batch}`, "x"), record(`y-${batch}`, "y")])
        await Promise.all(batches.map((batch) => database.records.put("acme", batch)))
        const sequences = (await database.records.since("acme", 0, 100)).map((stored) => stored.sequence)
        assert.deepEqual(sequences, Array.from({ length: 40 }, (_, index) => index + 1))
      })

      it("are put in batches larger than one statement takes, and still all or nothing", async () => {
        const batch = Array.from({ length: 1_201 }, (_, index) => record(`user-${index}`, `sealed-${index}`))
        assert.deepEqual(await database.records.put("acme", batch), { stored: 1_201 })
        assert.deepEqual(await database.records.put("acme", batch), { stored: 0 })
        const renamed = batch.map((item) => ({ ...item, version: 2 }))
        await assert.rejects(database.records.put("acme", [...renamed, record("user-1200", "another")]), { code: "ERR_RECORD_CONFLICT" })
        assert.equal(await database.records.count("acme"), 1_201)
      })

      it("may be none", async () => {
        assert.deepEqual(await database.records.put("acme", []), { stored: 0 })
      })
    })

    describe("operations", () => {
      it("are open until they end, and keep how they ended", async () => {
        await database.operations.begin({ ...OPERATION, run: "run-1" })
        clock.jump(9)
        await database.operations.end({ ...OPERATION, reason: "ERR_JOB_FAILED", releases: 3 })
        assert.deepEqual(await database.operations.find("acme", OPERATION.id), {
          ...OPERATION, run: "run-1", state: "failed", reason: "ERR_JOB_FAILED", releases: 3, begunAtMs: START_MS, endedAtMs: START_MS + 9,
        })
      })

      it("end once: the same end again changes nothing, another is refused", async () => {
        await database.operations.begin(OPERATION)
        await database.operations.end({ ...OPERATION, reason: null, releases: 1 })
        clock.jump(9)
        await database.operations.end({ ...OPERATION, reason: null, releases: 1 })
        await assert.rejects(database.operations.end({ ...OPERATION, reason: null, releases: 2 }), { code: "ERR_OPERATION" })
        await assert.rejects(database.operations.end({ ...OPERATION, reason: "ERR_JOB_FAILED", releases: 1 }), { code: "ERR_OPERATION" })
        const operation = await database.operations.find("acme", OPERATION.id)
        assert.deepEqual([operation?.state, operation?.reason, operation?.releases, operation?.endedAtMs], ["succeeded", null, 1, START_MS])
      })

      it("are ended by their own worker only", async () => {
        await database.operations.begin(OPERATION)
        await assert.rejects(database.operations.end({ ...OPERATION, worker: "worker-2", reason: null, releases: 0 }), { code: "ERR_OPERATION" })
        await assert.rejects(database.operations.end({ ...OPERATION, id: "unknown", reason: null, releases: 0 }), { code: "ERR_OPERATION" })
        assert.equal((await database.operations.find("acme", OPERATION.id))?.state, "open")
        await database.operations.end({ ...OPERATION, reason: null, releases: 0 })
        await assert.rejects(database.operations.end({ ...OPERATION, worker: "worker-2", reason: null, releases: 0 }), { code: "ERR_OPERATION" })
      })

      it("may be begun again as they were, and no id is taken twice", async () => {
        await database.operations.begin(OPERATION)
        await database.operations.begin(OPERATION)
        const others: readonly Partial<NewOperation>[] = [{ worker: "worker-2" }, { product: "endpoint" }, { workflow: "backup.manual" }, { run: "run-1" }]
        for (const other of others) {
          await assert.rejects(database.operations.begin({ ...OPERATION, ...other }), { code: "ERR_OPERATION" })
        }
        await database.operations.end({ ...OPERATION, reason: null, releases: 0 })
        await assert.rejects(database.operations.begin(OPERATION), { code: "ERR_OPERATION" })
      })

      it("that are open are listed for their worker, oldest first", async () => {
        await database.operations.begin({ ...OPERATION, id: "b" })
        clock.jump(1)
        await database.operations.begin({ ...OPERATION, id: "a" })
        await database.operations.begin({ ...OPERATION, id: "c", worker: "worker-2" })
        await database.operations.begin({ ...OPERATION, id: "d" })
        await database.operations.end({ ...OPERATION, id: "d", reason: null, releases: 0 })
        assert.deepEqual((await database.operations.openOf("acme", "worker-1")).map(({ id }) => id), ["b", "a"])
      })

      it("are one tenant's, even with the same id and worker", async () => {
        await database.operations.begin(OPERATION)
        assert.equal(await database.operations.find("other", OPERATION.id), null)
        assert.deepEqual(await database.operations.openOf("other", "worker-1"), [])
        await assert.rejects(database.operations.end({ ...OPERATION, tenant: "other", reason: null, releases: 0 }), { code: "ERR_OPERATION" })
        await database.operations.begin({ ...OPERATION, tenant: "other" })
        await database.operations.end({ ...OPERATION, tenant: "other", reason: null, releases: 5 })
        assert.equal((await database.operations.find("acme", OPERATION.id))?.state, "open")
      })
    })

    describe("schedules", () => {
      it("come back as they were added", async () => {
        await database.schedules.add(SCHEDULE)
        await database.schedules.add({ ...SCHEDULE, name: "weekly", enabled: false, parameters: {} })
        assert.deepEqual(await database.schedules.find("acme", "nightly"), { ...SCHEDULE, createdAtMs: START_MS })
        assert.deepEqual(await database.schedules.find("acme", "weekly"), { ...SCHEDULE, name: "weekly", enabled: false, parameters: {}, createdAtMs: START_MS })
      })

      it("are never replaced by another of the same name", async () => {
        await database.schedules.add(SCHEDULE)
        await assert.rejects(database.schedules.add({ ...SCHEDULE, job: "other" }), { code: "ERR_SCHEDULE" })
        assert.equal((await database.schedules.find("acme", "nightly"))?.job, "files")
      })

      it("can be removed once, and their name is free again", async () => {
        await database.schedules.add(SCHEDULE)
        assert.equal(await database.schedules.remove("acme", "nightly"), true)
        assert.equal(await database.schedules.remove("acme", "nightly"), false)
        assert.equal(await database.schedules.find("acme", "nightly"), null)
        await database.schedules.add(SCHEDULE)
      })

      it("are one tenant's, even under the same name", async () => {
        await database.schedules.add(SCHEDULE)
        assert.equal(await database.schedules.find("other", "nightly"), null)
        assert.equal(await database.schedules.remove("other", "nightly"), false)
        await database.schedules.add({ ...SCHEDULE, tenant: "other", job: "others" })
        await database.schedules.add({ ...SCHEDULE, name: "a-first" })
        assert.deepEqual((await database.schedules.list("other")).map(({ job }) => job), ["others"])
        assert.deepEqual((await database.schedules.list()).map(({ tenant, name }) => [tenant, name]), [["acme", "a-first"], ["acme", "nightly"], ["other", "nightly"]])
      })
    })

    describe("runs", () => {
      it("start, are given to a worker and succeed with their statistics", async () => {
        await database.runs.start(RUN)
        assert.deepEqual(await database.runs.find("acme", "run-1"), {
          ...RUN, worker: null, state: "starting", reason: null, detail: null, exitCode: null, statistics: null, startedAtMs: START_MS, endedAtMs: null,
        })
        clock.jump(1)
        assert.equal(await database.runs.assign("run-1", "worker-1"), true)
        assert.equal((await database.runs.find("acme", "run-1"))?.state, "running")
        clock.jump(1)
        assert.equal(await database.runs.succeed("run-1", { exitCode: 0, statistics: { files: 3, bytes: 4_000_000_000 } }), true)
        assert.deepEqual(await database.runs.find("acme", "run-1"), {
          ...RUN, worker: "worker-1", state: "succeeded", reason: null, detail: null, exitCode: 0,
          statistics: { files: 3, bytes: 4_000_000_000 }, startedAtMs: START_MS, endedAtMs: START_MS + 2,
        })
      })

      it("fail with a reason, whether a worker had them or not", async () => {
        await database.runs.start(RUN)
        assert.equal(await database.runs.fail("run-1", { reason: "ERR_NO_WORKER", detail: null }), true)
        await database.runs.start({ ...RUN, id: "run-2" })
        await database.runs.assign("run-2", "worker-1")
        assert.equal(await database.runs.fail("run-2", { reason: "ERR_JOB_FAILED", detail: "disk full", exitCode: 3 }), true)
        const runs = await database.runs.last("acme", "nightly", 2)
        assert.deepEqual(runs.map(({ state, reason, detail, exitCode, endedAtMs }) => ({ state, reason, detail, exitCode, endedAtMs })), [
          { state: "failed", reason: "ERR_JOB_FAILED", detail: "disk full", exitCode: 3, endedAtMs: START_MS },
          { state: "failed", reason: "ERR_NO_WORKER", detail: null, exitCode: null, endedAtMs: START_MS },
        ])
      })

      it("never change once they have ended", async () => {
        await database.runs.start(RUN)
        await database.runs.assign("run-1", "worker-1")
        await database.runs.succeed("run-1", { exitCode: 0, statistics: null })
        await database.runs.start({ ...RUN, id: "run-2" })
        await database.runs.fail("run-2", { reason: "ERR_NO_WORKER", detail: "none" })
        for (const id of ["run-1", "run-2"]) {
          const before = await database.runs.find("acme", id)
          clock.jump(1)
          assert.equal(await database.runs.assign(id, "worker-2"), false)
          assert.equal(await database.runs.succeed(id, { exitCode: 1, statistics: { files: 1 } }), false)
          assert.equal(await database.runs.fail(id, { reason: "ERR_WORKER_LOST", detail: "late" }), false)
          assert.deepEqual(await database.runs.find("acme", id), before)
        }
      })

      it("can't succeed before a worker has them, and have one worker", async () => {
        await database.runs.start(RUN)
        assert.equal(await database.runs.succeed("run-1", { exitCode: 0, statistics: null }), false)
        assert.equal(await database.runs.assign("run-1", "worker-1"), true)
        assert.equal(await database.runs.assign("run-1", "worker-2"), false)
        assert.equal((await database.runs.find("acme", "run-1"))?.worker, "worker-1")
      })

      it("that are unknown change nothing", async () => {
        assert.equal(await database.runs.assign("run-1", "worker-1"), false)
        assert.equal(await database.runs.succeed("run-1", { exitCode: 0, statistics: null }), false)
        assert.equal(await database.runs.fail("run-1", { reason: "ERR_WORKER_LOST", detail: null }), false)
        assert.equal(await database.runs.find("acme", "run-1"), null)
      })

      it("have an id of their own", async () => {
        await database.runs.start(RUN)
        await assert.rejects(database.runs.start({ ...RUN, job: "other" }), { code: "ERR_STORE" })
        assert.equal((await database.runs.find("acme", "run-1"))?.job, "files")
      })

      it("keep no more of a detail than both databases can", async () => {
        await database.runs.start(RUN)
        await database.runs.fail("run-1", { reason: "ERR_JOB_FAILED", detail: `a\0${"b".repeat(998)}\u{1F511}rest` })
        assert.equal((await database.runs.find("acme", "run-1"))?.detail, `a${"b".repeat(998)}`)
      })

      it("are listed newest first, up to a limit", async () => {
        for (const id of ["c", "a", "b"]) {
          await database.runs.start({ ...RUN, id })
          clock.jump(1)
        }
        await database.runs.start({ ...RUN, id: "d", schedule: "weekly" })
        assert.deepEqual((await database.runs.last("acme", "nightly", 2)).map(({ id }) => id), ["b", "a"])
      })

      it("that have not ended are listed, for a worker only those it has", async () => {
        await database.runs.start({ ...RUN, id: "ended" })
        await database.runs.fail("ended", { reason: "ERR_NO_WORKER", detail: null })
        await database.runs.start({ ...RUN, id: "waiting" })
        clock.jump(1)
        for (const [id, worker] of [["first", "worker-1"], ["second", "worker-2"]] as const) {
          await database.runs.start({ ...RUN, id })
          await database.runs.assign(id, worker)
        }
        await database.runs.start({ ...RUN, id: "others", tenant: "other" })
        await database.runs.assign("others", "worker-1")
        assert.deepEqual((await database.runs.unfinished()).map(({ id }) => id), ["waiting", "first", "others", "second"])
        assert.deepEqual((await database.runs.unfinishedOf("acme", "worker-1")).map(({ id }) => id), ["first"])
      })

      it("are one tenant's", async () => {
        await database.runs.start(RUN)
        await database.runs.start({ ...RUN, id: "run-2", tenant: "other" })
        assert.equal(await database.runs.find("other", "run-1"), null)
        assert.deepEqual((await database.runs.last("other", "nightly", 9)).map(({ id }) => id), ["run-2"])
        assert.deepEqual((await database.runs.last("acme", "nightly", 9)).map(({ id }) => id), ["run-1"])
      })
    })

    describe("alarms", () => {
      it("come back newest first, up to a limit", async () => {
        const first = await database.alarms.raise({ tenant: "acme", kind: "record conflict", detail: "user-1" })
        clock.jump(1)
        const second = await database.alarms.raise({ tenant: "acme", kind: "record conflict", detail: "user-2" })
        assert.deepEqual(await database.alarms.list("acme", 9), [second, first])
        assert.deepEqual(await database.alarms.list("acme", 1), [second])
        assert.deepEqual({ ...first, id: "" }, { id: "", tenant: "acme", kind: "record conflict", detail: "user-1", atMs: START_MS })
        assert.notEqual(first.id, second.id)
      })

      it("are one tenant's, or the whole cloud's, and the cloud's admin sees all", async () => {
        await database.alarms.raise({ tenant: "acme", kind: "a", detail: "" })
        await database.alarms.raise({ tenant: "other", kind: "b", detail: "" })
        await database.alarms.raise({ tenant: null, kind: "c", detail: "" })
        assert.deepEqual((await database.alarms.list("acme", 9)).map(({ kind }) => kind), ["a"])
        assert.deepEqual((await database.alarms.list(null, 9)).map(({ kind, tenant }) => [kind, tenant]).sort(), [["a", "acme"], ["b", "other"], ["c", null]])
      })

      it("keep no more of a detail than both databases can", async () => {
        const alarm = await database.alarms.raise({ tenant: null, kind: "a", detail: `\0\uD800${"b".repeat(2_000)}` })
        assert.equal(alarm.detail, `\uFFFD${"b".repeat(999)}`)
        assert.deepEqual(await database.alarms.list(null, 9), [alarm])
      })
    })
  })
}
