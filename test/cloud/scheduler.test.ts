import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { EkeyError } from "../../src/base/errors.ts"
import { Registry } from "../../src/cloud/registry.ts"
import { Scheduler } from "../../src/cloud/scheduler.ts"
import { openDatabase } from "../../src/cloud/storage/database.ts"
import type { Database } from "../../src/cloud/storage/database.ts"
import type { Run } from "../../src/cloud/storage/runs.ts"
import type { NewSchedule } from "../../src/cloud/storage/schedules.ts"
import type { WireHandlers } from "../../src/wire/link/gateway-link.ts"
import type { JobStartParams } from "../../src/wire/messages/job.ts"
import type { Outcome } from "../../src/wire/messages/operation.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { FakeCron } from "../support/fake-cron.ts"
import { until } from "../support/until.ts"
import { openMember } from "../support/wire-members.ts"
import type { TestMember } from "../support/wire-members.ts"

const NIGHTLY: NewSchedule = {
  tenant: "acme", name: "nightly", user: "u@acme.example", product: "microsoft-365", workflow: "backup.scheduled",
  job: "documents", cron: "0 2 * * *", parameters: { folder: "home" }, enabled: true,
}
const DONE: Outcome = { state: "succeeded", exitCode: 0, statistics: { files: 3 } }
const FAILED: Outcome = { state: "failed", exitCode: 3, reason: "ERR_JOB_FAILED", detail: "exit code 3: no space" }

describe("The scheduler", () => {
  let clock: FakeClock
  let log: EventLog
  let cron: FakeCron
  let database: Database
  let workers: Registry
  let random: number
  let scheduler: Scheduler
  let started: (JobStartParams & { worker: string })[]
  let stop: AbortController
  let running: Promise<void>[]

  beforeEach(async () => {
    clock = new FakeClock()
    log = new EventLog()
    cron = new FakeCron()
    database = await openDatabase({ file: ":memory:", clock })
    workers = new Registry()
    random = 0
    started = []
    stop = new AbortController()
    running = []
    scheduler = restart()
    await database.users.add("acme", NIGHTLY.user)
    await database.users.activate("acme", NIGHTLY.user, 1)
  })
  afterEach(async () => {
    stop.abort()
    await Promise.all(running)
    await database.close()
  })

  /** The scheduler as it is after a restart of the cloud: only the database stays. */
  function restart(): Scheduler {
    return new Scheduler({ schedules: database.schedules, runs: database.runs, users: database.users, workers, cron, clock, random: () => random, log })
  }

  async function run(): Promise<void> {
    running.push(scheduler.run(stop.signal))
    await clock.sleeping()
  }

  async function join(name = "worker-1", options: { jobs?: readonly string[]; handlers?: WireHandlers; slot?: string } = {}): Promise<TestMember> {
    const { jobs = ["documents"], handlers = {}, ...rest } = options
    const joined = await openMember({
      clock, role: "worker", name, jobs, ...rest,
      handlers: {
        "job.start": async (params) => {
          started.push({ ...params, worker: name })
          return {}
        },
        ...handlers,
      },
    })
    workers.add(joined.member)
    return joined
  }

  async function last(count = 1): Promise<Run[]> {
    return await database.runs.last("acme", "nightly", count)
  }
  async function only(): Promise<Run> {
    const runs = await last(10)
    assert.equal(runs.length, 1)
    const [one] = runs
    assert.ok(one)
    return one
  }

  describe("starts a job", () => {
    it("on a worker that knows it, with nothing but its name, the user and the parameters", async () => {
      await join("worker-1", { jobs: ["other"] })
      await join("worker-2")
      await scheduler.add(NIGHTLY)
      const id = await scheduler.start("acme", "nightly")
      assert.deepEqual(started, [{
        run: id, job: "documents", user: NIGHTLY.user, product: "microsoft-365", workflow: "backup.scheduled", parameters: { folder: "home" }, deadlineMs: 10_000, worker: "worker-2",
      }])
      assert.deepEqual([(await only()).state, (await only()).worker], ["running", "worker-2"])
    })

    it("on one of several that know it", async () => {
      await join("worker-1")
      await join("worker-2")
      random = 0.99
      await scheduler.add(NIGHTLY)
      await scheduler.start("acme", "nightly")
      assert.deepEqual(started.map(({ worker }) => worker), ["worker-2"])
    })

    it("when its time comes, and no more once it is removed", async () => {
      await join()
      await run()
      await scheduler.add(NIGHTLY)
      cron.fire("0 2 * * *")
      await until("the job's start", () => started.length === 1)
      await scheduler.remove("acme", "nightly")
      assert.deepEqual(cron.armed, [])
      await assert.rejects(scheduler.start("acme", "nightly"), { code: "ERR_SCHEDULE" })
      assert.equal((await last()).length, 1)
    })

    it("by the stored schedules after a restart, but not by disabled ones", async () => {
      await database.schedules.add(NIGHTLY)
      await database.schedules.add({ ...NIGHTLY, name: "off", cron: "1 1 1 1 1", enabled: false })
      await run()
      assert.deepEqual(cron.armed, ["0 2 * * *"])
      stop.abort()
      await Promise.all(running)
      assert.deepEqual(cron.armed, [])
    })

    it("once at a time: ERR_JOB_BUSY while it goes on, and while it is being started", async () => {
      const gate = Promise.withResolvers<undefined>()
      await join("worker-1", { handlers: { "job.start": async (params) => { await gate.promise; started.push({ ...params, worker: "" }); return {} } } })
      await scheduler.add(NIGHTLY)
      const first = scheduler.start("acme", "nightly")
      const busy = (error: unknown): boolean => error instanceof EkeyError && error.code === "ERR_JOB_BUSY" && error.retryable
      await assert.rejects(scheduler.start("acme", "nightly"), busy)
      gate.resolve(undefined)
      const id = await first
      await assert.rejects(scheduler.start("acme", "nightly"), busy)
      await scheduler.finished("acme", "worker-1", id, DONE)
      await scheduler.start("acme", "nightly")
      assert.equal(started.length, 2)
    })
  })

  describe("refuses a schedule", () => {
    it("whose cron expression is wrong, whose user has no ekey, or whose name is taken", async () => {
      await assert.rejects(scheduler.add({ ...NIGHTLY, cron: "wrong" }), { code: "ERR_SCHEDULE", message: /minute/ })
      await assert.rejects(scheduler.add({ ...NIGHTLY, user: "nobody" }), { code: "ERR_USER_UNKNOWN" })
      await database.users.add("acme", "half@acme.example")
      await assert.rejects(scheduler.add({ ...NIGHTLY, user: "half@acme.example" }), { code: "ERR_USER_UNKNOWN" })
      await scheduler.add(NIGHTLY)
      await assert.rejects(scheduler.add(NIGHTLY), { code: "ERR_SCHEDULE" })
      assert.deepEqual(cron.armed, ["0 2 * * *"])
    })

    it("that is unknown: to start and to remove", async () => {
      await assert.rejects(scheduler.start("acme", "nightly"), { code: "ERR_SCHEDULE" })
      await assert.rejects(scheduler.remove("acme", "nightly"), { code: "ERR_SCHEDULE" })
      await scheduler.add(NIGHTLY)
      await assert.rejects(scheduler.start("other", "nightly"), { code: "ERR_SCHEDULE" })
    })
  })

  describe("records a run", () => {
    beforeEach(async () => { await scheduler.add(NIGHTLY) })

    it("that succeeded with its counters, and the next one starts", async () => {
      await join()
      const id = await scheduler.start("acme", "nightly")
      clock.jump(60_000)
      await scheduler.finished("acme", "worker-1", id, DONE)
      const { state, exitCode, statistics, reason, startedAtMs, endedAtMs } = await only()
      assert.deepEqual({ state, exitCode, statistics, reason, ms: (endedAtMs ?? 0) - startedAtMs }, { state: "succeeded", exitCode: 0, statistics: { files: 3 }, reason: null, ms: 60_000 })
      await scheduler.start("acme", "nightly")
      assert.equal((await last(10)).length, 2)
    })

    it("that failed with its reason, detail and exit code", async () => {
      await join()
      await scheduler.finished("acme", "worker-1", await scheduler.start("acme", "nightly"), FAILED)
      const { state, exitCode, reason, detail } = await only()
      assert.deepEqual({ state, exitCode, reason, detail }, { state: "failed", exitCode: 3, reason: "ERR_JOB_FAILED", detail: "exit code 3: no space" })
    })

    it("once: neither the same report again nor another changes it", async () => {
      await join()
      const id = await scheduler.start("acme", "nightly")
      await scheduler.finished("acme", "worker-1", id, FAILED)
      const stored = await only()
      clock.jump(1_000)
      await scheduler.finished("acme", "worker-1", id, FAILED)
      await scheduler.finished("acme", "worker-1", id, DONE)
      assert.deepEqual(await only(), stored)
      assert.equal(log.of("run ended").length, 1)
    })

    it("only as its own worker reports it", async () => {
      await join()
      const id = await scheduler.start("acme", "nightly")
      for (const [tenant, worker, run] of [["acme", "worker-2", id], ["other", "worker-1", id], ["acme", "worker-1", "AAAAAAAAAAAAAAAAAAAAAA"]] as const) {
        await assert.rejects(scheduler.finished(tenant, worker, run, DONE), { code: "ERR_OPERATION" })
      }
      assert.equal((await only()).state, "running")
    })

    it("whose report overtakes the answer to its start", async () => {
      const member = await join("worker-1", {
        handlers: {
          "job.start": async ({ run }) => {
            await scheduler.finished("acme", "worker-1", run, DONE)
            return {}
          },
        },
      })
      await scheduler.start("acme", "nightly")
      assert.equal((await only()).state, "succeeded")
      assert.equal(member.member.peer.isOpen, true)
    })
  })

  describe("records as failed, and has the next one work,", () => {
    beforeEach(async () => { await scheduler.add(NIGHTLY) })

    async function nextWorks(): Promise<void> {
      await join("worker-good")
      random = 0.99
      const id = await scheduler.start("acme", "nightly")
      await scheduler.finished("acme", "worker-good", id, DONE)
      assert.deepEqual((await last(10)).map(({ state }) => state).sort(), ["failed", "succeeded"])
    }

    it("a run for which no worker is there: ERR_NO_WORKER", async () => {
      await join("asks-only", { jobs: [] })
      await scheduler.start("acme", "nightly")
      assert.deepEqual([(await only()).state, (await only()).reason], ["failed", "ERR_NO_WORKER"])
      await nextWorks()
    })

    it("a run that the worker refuses, with the worker's reason", async () => {
      await join("worker-1", { handlers: { "job.start": () => Promise.reject(new EkeyError("ERR_JOB", "parameter folder does not match its pattern")) } })
      await scheduler.start("acme", "nightly")
      assert.deepEqual([(await only()).reason, (await only()).detail], ["ERR_JOB", "parameter folder does not match its pattern"])
      await nextWorks()
    })

    it("a run whose worker does not answer in ten seconds, and takes it back from the worker: ERR_DEADLINE", async () => {
      const cancelled: string[] = []
      await join("worker-1", { handlers: { "job.start": () => new Promise(() => undefined), "job.cancel": async ({ run: id }) => { cancelled.push(id); return {} } } })
      const starting = scheduler.start("acme", "nightly")
      await until("the call", () => clock.callbacks > 0)
      await clock.tick(9_999)
      assert.equal((await only()).state, "running")
      await clock.tick(1)
      const id = await starting
      assert.equal((await only()).reason, "ERR_DEADLINE")
      await until("the job is cancelled", () => cancelled.length === 1)
      assert.deepEqual(cancelled, [id])
      await nextWorks()
    })

    it("a run whose worker goes while it is being started: ERR_LINK_LOST", async () => {
      const joined = await join("worker-1", { handlers: { "job.start": () => new Promise(() => undefined) } })
      const starting = scheduler.start("acme", "nightly")
      await until("the call", () => clock.callbacks > 0)
      joined.far.close(1000, "gone")
      await starting
      assert.equal((await only()).reason, "ERR_LINK_LOST")
      await nextWorks()
    })

    it("a run whose worker restarted: ERR_WORKER_LOST, but not those that it still has", async () => {
      await join()
      const lost = await scheduler.start("acme", "nightly")
      await scheduler.add({ ...NIGHTLY, name: "second" })
      const kept = await scheduler.start("acme", "second")
      await scheduler.reconcile("acme", "worker-1", [kept])
      assert.deepEqual([(await database.runs.find("acme", lost))?.reason, (await database.runs.find("acme", kept))?.state], ["ERR_WORKER_LOST", "running"])
      await scheduler.reconcile("acme", "worker-2", [])
      await scheduler.reconcile("other", "worker-1", [])
      assert.equal((await database.runs.find("acme", kept))?.state, "running")
      await scheduler.finished("acme", "worker-1", lost, DONE)
      assert.equal((await database.runs.find("acme", lost))?.state, "failed")
      await nextWorks()
    })

    it("a run whose worker stays away for two minutes: ERR_WORKER_LOST, and not before", async () => {
      const joined = await join()
      await run()
      const id = await scheduler.start("acme", "nightly")
      await clock.tick(600_000)
      assert.equal((await only()).state, "running")
      joined.far.close(1000, "gone")
      await nextTurn()
      // Seen to be away at the next check, and given up at the first one two minutes later.
      await clock.tick(15_000 + 120_000 - 1)
      await nextTurn()
      assert.equal((await only()).state, "running")
      await clock.tick(15_000)
      await until("the run is given up", async () => (await only()).state === "failed")
      assert.deepEqual([(await only()).id, (await only()).reason], [id, "ERR_WORKER_LOST"])
      await nextWorks()
    })

    it("but not a run whose worker was away for less, or whose other link only asks for ekeys", async () => {
      const joined = await join()
      await run()
      await scheduler.start("acme", "nightly")
      joined.far.close(1000, "gone")
      await clock.tick(100_000)
      const back = await join()
      await clock.tick(30_000)
      assert.equal((await only()).state, "running")
      back.far.close(1000, "gone")
      await join("worker-1", { jobs: [], slot: "worker-1/asks" })
      await clock.tick(100_000)
      assert.equal((await only()).state, "running")
      await clock.tick(60_000)
      await until("the run is given up", async () => (await only()).state === "failed")
    })

    it("a run that no worker had when the cloud stopped: ERR_NO_WORKER; one that a worker has goes on", async () => {
      await join()
      const assigned = await scheduler.start("acme", "nightly")
      await database.runs.start({ id: "BBBBBBBBBBBBBBBBBBBBBA", tenant: "acme", schedule: "second", user: NIGHTLY.user, job: "documents" })
      scheduler = restart()
      await run()
      await until("the other is failed", async () => (await database.runs.find("acme", "BBBBBBBBBBBBBBBBBBBBBA"))?.reason === "ERR_NO_WORKER")
      assert.equal((await database.runs.find("acme", assigned))?.state, "running")
      await scheduler.finished("acme", "worker-1", assigned, DONE)
      assert.equal((await database.runs.find("acme", assigned))?.state, "succeeded")
    })
  })
})
