import assert from "node:assert/strict"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import type { ParamsOf } from "../../src/wire/methods.ts"
import type { EkeyClient } from "../../src/worker/client.ts"
import { JobDefinition } from "../../src/worker/job-definition.ts"
import type { EventLog } from "../support/event-log.ts"
import { FailureScene, TENANT, USER } from "../support/failure-scene.ts"
import { requirePlatform } from "../support/requirements.ts"
import { until } from "../support/until.ts"

const RUN = "AAAAAAAAAAAAAAAAAAAAAA"

describe("When something fails", function () {
  this.timeout(20_000)
  let scene: FailureScene

  before(function () { requirePlatform(this, ["linux"], "jobs get their ekey in a file in memory") })
  beforeEach(async () => { scene = await FailureScene.open() })
  afterEach(async () => { await scene.close() })

  /** A job that leaves a mark, and goes on until a test writes the file `go`. */
  function documents(more: object = {}): Record<string, JobDefinition> {
    const script = `cd '${scene.folder}'; echo ran >> marker; while [ ! -e go ]; do sleep 0.02; done; ls marker`
    return { documents: JobDefinition.parse({ program: "/bin/sh", args: ["-c", script], repository: "/srv/{user}", ...more }) }
  }
  const go = (): Promise<void> => writeFile(join(scene.folder, "go"), "")
  const marks = async (): Promise<number> => (await readFile(join(scene.folder, "marker"), "utf8").catch(() => "")).split("\n").filter(Boolean).length

  /** What a call failed with: a named error of ours that may be retried. */
  async function failure(attempt: Promise<unknown>): Promise<{ code: ErrorCode; retryable: boolean }> {
    try {
      await attempt
    } catch (error) {
      assert.ok(error instanceof EkeyError)
      return { code: error.code, retryable: error.retryable }
    }
    assert.fail("it succeeded")
  }

  async function provision(): Promise<void> {
    await scene.connected("connectors", 1)
    await scene.gateway.custodian.provision(TENANT, USER, 10_000)
  }

  describe("a worker that asks for an ekey", () => {
    let client: EkeyClient
    beforeEach(async () => { client = (await scene.workers.worker()).client })

    const release = async (deadlineMs = 10_000): Promise<string> => {
      const operation = await client.begin({ product: "endpoint", workflow: "backup.manual" })
      const { ekey } = await operation.release(USER, { deadlineMs })
      return await ekey.consume((bytes) => Buffer.from(bytes).toString("hex"))
    }

    it("hears ERR_NO_CONNECTOR while no connector is online, and gets it as soon as one is", async () => {
      assert.deepEqual(await failure(release()), { code: "ERR_NO_CONNECTOR", retryable: true })
      const connector = await scene.connectors.connector()
      await provision()
      assert.equal(await release(), (await connector.ekeyOf(USER)).toString("hex"))
    })

    it("hears ERR_LINK_LOST when the connector is lost in the middle, then ERR_NO_CONNECTOR, and gets it when it is back", async () => {
      await scene.connectors.connector()
      await provision()
      const before = await release()
      const operation = await client.begin({ product: "endpoint", workflow: "backup.manual" })
      scene.connectorWay.freeze()
      const asked = failure(operation.release(USER))
      await until("the request on its way", () => scene.connectorWay.lostBytes > 0)
      scene.connectorWay.cut()
      assert.deepEqual(await asked, { code: "ERR_LINK_LOST", retryable: true })
      assert.deepEqual(await failure(operation.release(USER)), { code: "ERR_NO_CONNECTOR", retryable: true })
      await scene.connected("connectors", 1)
      const { ekey } = await operation.release(USER)
      assert.equal(await ekey.consume((bytes) => Buffer.from(bytes).toString("hex")), before)
    })

    for (const [what, warm] of [["a session", false], ["a release", true]] as const) {
      it(`hears ERR_DEADLINE in time when the connector hangs at ${what}`, async () => {
        await scene.connectors.connector()
        await provision()
        const operation = await client.begin({ product: "endpoint", workflow: "backup.manual" })
        if (warm) await operation.release(USER)
        scene.connectorWay.freeze()
        const ends: unknown[] = []
        const asked = failure(operation.release(USER, { deadlineMs: 5_000 })).then((end) => ends.push(end))
        await until("the request on its way", () => scene.connectorWay.lostBytes > 0)
        await scene.clock.tick(4_979)
        assert.equal(ends.length, 0)
        // The gateway's own deadline is a little earlier, so that its answer comes in time.
        await scene.clock.tick(1)
        await asked
        assert.deepEqual(ends, [{ code: "ERR_DEADLINE", retryable: true }])
        await scene.lose("connectors")
        await scene.connected("connectors", 1)
        await release()
      })
    }

    it("hears ERR_LINK_LOST when its own link is lost, and ERR_UNREACHABLE in time while there is no gateway", async () => {
      await scene.connectors.connector()
      await provision()
      const operation = await client.begin({ product: "endpoint", workflow: "backup.manual" })
      scene.workerWay.freeze()
      const asked = failure(operation.release(USER))
      await until("the request on its way", () => scene.workerWay.lostBytes > 0)
      scene.workerWay.cut()
      assert.deepEqual(await asked, { code: "ERR_LINK_LOST", retryable: true })
      await scene.stopGateway()
      const ends: unknown[] = []
      const waited = failure(client.begin({ product: "endpoint", workflow: "backup.manual", deadlineMs: 3_000 })).then((end) => ends.push(end))
      await scene.clock.tick(2_999)
      assert.equal(ends.length, 0)
      await scene.clock.tick(1)
      await waited
      assert.deepEqual(ends, [{ code: "ERR_UNREACHABLE", retryable: true }])
      await scene.startGateway()
      await scene.connected("connectors", 1)
      await scene.connected("workers", 1)
      await release()
    })

    it("notices nothing of a connector that restarted between two requests", async () => {
      await scene.connectors.connector()
      await provision()
      const before = await release()
      await scene.lose("connectors")
      await scene.connected("connectors", 1)
      assert.equal(await release(), before)
    })
  })

  describe("the scheduler records why, and the next run works:", () => {
    beforeEach(async () => {
      await scene.connectors.connector()
      await scene.connected("connectors", 1)
      await scene.schedule()
    })

    async function nextWorks(): Promise<void> {
      await scene.connected("connectors", 1)
      await scene.connected("workers", 1)
      await go()
      const { state, statistics } = await scene.ended(await scene.fire())
      assert.deepEqual([state, Object.keys(statistics ?? {})], ["succeeded", ["releaseMs", "programMs"]])
    }

    it("no connector was online", async () => {
      await scene.worker(documents())
      await scene.lose("connectors")
      const { state, reason } = await scene.ended(await scene.fire())
      assert.deepEqual([state, reason, await marks()], ["failed", "ERR_NO_CONNECTOR", 0])
      await nextWorks()
    })

    it("the connector was lost while it was asked", async () => {
      await scene.worker(documents())
      scene.connectorWay.freeze()
      const run = await scene.fire()
      await until("the request on its way", () => scene.connectorWay.lostBytes > 0)
      scene.connectorWay.cut()
      const { state, reason } = await scene.ended(run)
      assert.deepEqual([state, reason, await marks()], ["failed", "ERR_LINK_LOST", 0])
      await nextWorks()
    })

    it("the connector hung until the deadline", async () => {
      await scene.worker(documents())
      scene.connectorWay.freeze()
      const run = await scene.fire()
      await until("the request on its way", () => scene.connectorWay.lostBytes > 0)
      await scene.clock.tick(9_979)
      assert.equal((await scene.runs())[0]?.state, "running")
      await scene.clock.tick(1)
      const { state, reason } = await scene.ended(run)
      assert.deepEqual([state, reason, await marks()], ["failed", "ERR_DEADLINE", 0])
      await scene.lose("connectors")
      await nextWorks()
    })

    it("no worker knew the job", async () => {
      const { state, reason } = await scene.ended(await scene.fire())
      assert.deepEqual([state, reason], ["failed", "ERR_NO_WORKER"])
      await scene.worker(documents())
      await nextWorks()
    })

    it("the customer's policy forbids it", async () => {
      await scene.worker(documents())
      await scene.gateway.scheduler.remove(TENANT, "nightly")
      await scene.schedule({}, "download.mds")
      const { state, reason } = await scene.ended(await scene.fire())
      assert.deepEqual([state, reason, await marks()], ["failed", "ERR_DENIED", 0])
      await scene.gateway.scheduler.remove(TENANT, "nightly")
      await scene.schedule()
      await nextWorks()
    })

    it("the job was cancelled", async () => {
      await scene.worker(documents())
      const run = await scene.fire()
      await until("the program", async () => await marks() === 1)
      await scene.gateway.workers.all()[0]?.peer.call("job.cancel", { run }, 5_000)
      const { state, reason, detail } = await scene.ended(run, 50)
      assert.deepEqual([state, reason, detail], ["failed", "ERR_JOB_FAILED", "the job was cancelled"])
      await nextWorks()
    })

    it("the worker was stopped in the middle", async () => {
      const worker = await scene.worker(documents())
      const run = await scene.fire()
      await until("the program", async () => await marks() === 1)
      const stopped = worker.stop()
      const { state, reason, detail } = await scene.ended(run, 50)
      assert.deepEqual([state, reason, detail], ["failed", "ERR_DRAINING", "the worker was stopped while the job ran"])
      await stopped
      await scene.worker(documents(), "worker-2")
      await nextWorks()
    })
  })

  describe("a job goes on, and its end is known,", () => {
    let log: EventLog
    beforeEach(async () => {
      await scene.connectors.connector()
      await scene.connected("connectors", 1)
      await scene.schedule()
      log = (await scene.worker(documents())).log
    })

    it("when the gateway was restarted in the middle of it", async () => {
      const run = await scene.fire()
      await until("the program", async () => await marks() === 1)
      await scene.stopGateway()
      await scene.startGateway()
      await scene.connected("workers", 1)
      assert.equal((await scene.runs())[0]?.state, "running")
      await go()
      const { state, worker } = await scene.ended(run)
      assert.deepEqual([state, worker, await marks()], ["succeeded", "worker-1", 1])
    })

    it("when it ended while the gateway was away", async () => {
      const run = await scene.fire()
      await until("the program", async () => await marks() === 1)
      await scene.stopGateway()
      await go()
      await until("a report that fails for want of a gateway", async () => {
        await scene.clock.tick(1_000)
        return log.of("run's end not reported").length > 0
      })
      await scene.startGateway()
      assert.equal((await scene.ended(run, 100)).state, "succeeded")
      assert.equal(await marks(), 1)
    })

    it("when the worker's link was lost for a while", async () => {
      const run = await scene.fire()
      await until("the program", async () => await marks() === 1)
      await scene.lose("workers")
      await go()
      assert.equal((await scene.ended(run, 100)).state, "succeeded")
      assert.equal(await marks(), 1)
    })
  })

  describe("a gateway that names what is not in the worker's config gets nothing run:", () => {
    let worker: WirePeer
    beforeEach(async () => {
      await scene.connectors.connector()
      await provision()
      await scene.worker(documents({
        args: ["-c", `echo "$0 $1 $2" >> '${scene.folder}/marker'`, "{repository}", "{destination}", "{folder}"],
        destination: "/out/{user}", parameters: { folder: { pattern: "[a-z/-]+" } }, workflows: ["backup.scheduled"],
      }))
      const member = scene.gateway.workers.all()[0]
      assert.ok(member)
      worker = member.peer
    })
    const good: Omit<ParamsOf<"job.start">, "deadlineMs"> = { run: RUN, job: "documents", user: USER, product: "endpoint", workflow: "backup.scheduled", parameters: { folder: "home" } }

    const rows: readonly [string, Partial<typeof good>, ErrorCode][] = [
      ["an unknown job", { job: "other" }, "ERR_JOB"],
      ["an argument more", { parameters: { folder: "home", "exclude-from": "x" } }, "ERR_JOB"],
      ["an option in a parameter's place", { parameters: { folder: "--delete" } }, "ERR_JOB"],
      ["another destination", { parameters: { folder: "home", destination: "/elsewhere" } }, "ERR_JOB"],
      ["another repository", { parameters: { folder: "home", repository: "/elsewhere" } }, "ERR_JOB"],
      ["a way out of the folder", { parameters: { folder: "../../etc" } }, "ERR_JOB"],
      ["a workflow that the job is not for", { workflow: "restore.admin.copy" }, "ERR_JOB"],
      ["another user's ekey", { user: "stranger@acme.example" }, "ERR_DENIED"],
    ]
    for (const [name, change, code] of rows) {
      it(name, async () => {
        if (code === "ERR_DENIED") {
          // A user that the connector does not know: the job is taken, and fails for want of an ekey.
          const id = Buffer.alloc(16, 1).toString("base64url")
          await scene.database.runs.start({ id, tenant: TENANT, schedule: "nightly", user: "stranger@acme.example", job: "documents" })
          await scene.database.runs.assign(id, "worker-1")
          await worker.call("job.start", { ...good, ...change, run: id }, 5_000)
          assert.equal((await scene.ended(id)).reason, code)
        } else {
          await assert.rejects(worker.call("job.start", { ...good, ...change }, 5_000), { code })
        }
        assert.equal(await marks(), 0)
        await worker.call("job.start", good, 5_000)
        await until("the program", async () => await marks() === 1)
        assert.equal(await readFile(join(scene.folder, "marker"), "utf8"), `/srv/${USER} /out/${USER} home\n`)
      })
    }

    it("fields of its own", async () => {
      for (const extra of [{ program: "/bin/sh" }, { args: ["-c", "id"] }, { env: { LD_PRELOAD: "x" } }, { repository: "/elsewhere" }]) {
        await assert.rejects(worker.call("job.start", Object.assign({}, good, extra), 5_000), { code: "ERR_PARAMS" })
      }
      assert.equal(await marks(), 0)
    })
  })

  describe("the admin", () => {
    const add = (user: string) => scene.admin["user.add"]?.({ tenant: TENANT, user, deadlineMs: 10_000 }, { remainingMs: () => 10_000 })

    it("adds a user whose connector is away: named, retryable, and the repeated command completes it", async () => {
      assert.deepEqual(await failure(add(USER) ?? Promise.resolve()), { code: "ERR_NO_CONNECTOR", retryable: true })
      assert.equal((await scene.database.users.find(TENANT, USER))?.state, "provisioning")
      await scene.connectors.connector()
      await scene.connected("connectors", 1)
      assert.deepEqual(await add(USER), { version: 1, created: true })
      assert.deepEqual(await failure(add(USER) ?? Promise.resolve()), { code: "ERR_USER_EXISTS", retryable: false })
    })

    it("completes a user whose connector answered into the void, without making a second ekey", async () => {
      const connector = await scene.connectors.connector()
      await scene.connected("connectors", 1)
      await scene.gateway.custodian.provision(TENANT, USER, 10_000)
      const made = await connector.ekeyOf(USER)
      assert.deepEqual(await add(USER), { version: 1, created: false })
      assert.deepEqual(await connector.ekeyOf(USER), made)
    })
  })
})
