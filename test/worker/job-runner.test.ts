import assert from "node:assert/strict"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { EkeyError } from "../../src/base/errors.ts"
import type { JobStartParams } from "../../src/wire/messages/job.ts"
import type { Outcome } from "../../src/wire/messages/operation.ts"
import { JobDefinition } from "../../src/worker/job-definition.ts"
import { JobRunner } from "../../src/worker/job-runner.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClient } from "../support/fake-client.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { requirePlatform } from "../support/requirements.ts"
import { until } from "../support/until.ts"

const runId = (index: number): string => Buffer.alloc(16, index).toString("base64url")

describe("The job runner", () => {
  let folder: string
  let clock: FakeClock
  let log: EventLog
  let client: FakeClient
  let stop: AbortController
  let reports: { run: string; outcome: Outcome }[]
  let onReport: () => Promise<void>
  let runner: JobRunner

  before(function () { requirePlatform(this, ["linux"], "jobs get their ekey in a file in memory") })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-jobs-"))
    clock = new FakeClock()
    log = new EventLog()
    client = new FakeClient(clock)
    stop = new AbortController()
    reports = []
    onReport = () => Promise.resolve()
    open({})
  })
  afterEach(async () => {
    stop.abort()
    while (runner.runs.length > 0) await clock.tick(100)
    await runner.idle()
    await rm(folder, { recursive: true })
  })

  /** A job that is a shell script, whose arguments are what the job's definition gives. */
  function script(text: string, more: object = {}): JobDefinition {
    return JobDefinition.parse({ program: "/bin/sh", args: ["-c", `cd '${folder}'; ${text.replaceAll(/[{}]/g, "$&$&")}`], repository: "/srv/{user}", ...more })
  }
  const MARK = "echo ran >> marker"
  /** Goes on until a test writes the file `go`. */
  const WAIT = `${MARK}; while [ ! -e go ]; do sleep 0.01; done`

  function open(jobs: Record<string, JobDefinition>): JobRunner {
    runner = new JobRunner({
      jobs, client, clock, log, signal: stop.signal, environment: { PATH: "/usr/bin:/bin" },
      report: async (run, outcome, deadlineMs) => {
        assert.equal(deadlineMs, 10_000)
        reports.push({ run, outcome })
        await onReport()
      },
    })
    return runner
  }
  const start = (change: Partial<JobStartParams> = {}): void => {
    runner.start({ run: runId(1), job: "documents", user: "u@acme.example", product: "endpoint", workflow: "backup.scheduled", parameters: {}, deadlineMs: 1_000, ...change })
  }
  async function finished(): Promise<Outcome> {
    const report = await until("the report", () => reports[0], 10_000)
    await runner.idle()
    return report.outcome
  }
  /** The outcome of a program that is being ended, which is polled for. */
  async function ended(): Promise<Outcome> {
    await until("the program's end", async () => {
      await clock.tick(50)
      return reports.length > 0
    }, 10_000)
    return await finished()
  }
  const marks = async (): Promise<number> => (await readFile(join(folder, "marker"), "utf8").catch(() => "")).split("\n").filter(Boolean).length

  describe("runs", () => {
    it("a job's program with the user's ekey, and reports what it counted", async () => {
      open({ documents: script('cat /dev/fd/3 > got; echo noise; echo \'{"n":3}\'', { statistics: { files: "n" } }) })
      start()
      assert.deepEqual(runner.runs, [runId(1)])
      const outcome = await finished()
      assert.deepEqual(outcome, { state: "succeeded", exitCode: 0, statistics: { files: 3, releaseMs: 0, programMs: 0 } })
      assert.equal(await readFile(join(folder, "got"), "utf8"), client.ekey.toString("base64url"))
      assert.deepEqual(client.begun, [{ product: "endpoint", workflow: "backup.scheduled", run: runId(1) }])
      assert.deepEqual([client.asked, client.ended, reports[0]?.run], [["u@acme.example"], [outcome], runId(1)])
      assert.deepEqual(runner.runs, [])
    })

    it("wipes the ekey when the program has ended", async () => {
      open({ documents: script(MARK) })
      start()
      await finished()
      assert.deepEqual(client.handedOut, [Buffer.alloc(32)])
    })

    it("gives the program its environment and nothing of its own", async () => {
      open({ documents: script("env > env", { environment: { FIXED: "value" } }) })
      start()
      await finished()
      const names = (await readFile(join(folder, "env"), "utf8")).split("\n").map((line) => line.split("=")[0] ?? "").filter((name) => !["", "_", "PWD", "OLDPWD", "SHLVL"].includes(name))
      assert.deepEqual(names.sort(), ["EKEY_FD", "FIXED", "PATH"])
    })

    it("a run once, however often it is named", async () => {
      open({ documents: script(WAIT) })
      start()
      start()
      await until("the program", async () => await marks() === 1)
      start()
      await writeFile(join(folder, "go"), "")
      await finished()
      assert.deepEqual([await marks(), reports.length, client.begun.length], [1, 1, 1])
    })

    it("several side by side, and no more than 32", async () => {
      open({ documents: script(WAIT) })
      for (let index = 1; index <= 32; index++) start({ run: runId(index) })
      assert.throws(() => { start({ run: runId(33) }) }, (error) => error instanceof EkeyError && error.code === "ERR_OVERLOADED" && error.retryable)
      await writeFile(join(folder, "go"), "")
      await until("all reports", () => reports.length === 32, 10_000)
      await runner.idle()
      start({ run: runId(33) })
      await until("one more report", () => reports.length === 33)
    })
  })

  describe("runs nothing", () => {
    const nothing: readonly [string, Partial<JobStartParams>][] = [
      ["a job that is unknown", { job: "other" }],
      ["a job by the name of what every object has", { job: "constructor" }],
      ["a job for a workflow that it is not for", { workflow: "restore.admin.copy" }],
      ["an argument added by a parameter that the job does not declare", { parameters: { name: "ok", extra: "--delete" } }],
      ["a parameter that is missing", { parameters: {} }],
      ["a parameter that begins with a hyphen", { parameters: { name: "--repo/elsewhere" } }],
      ["a parameter that begins with a hyphen after a line end", { parameters: { name: "a\n--repo" } }],
      ["a parameter outside its pattern", { parameters: { name: "a b" } }],
      ["a parameter with a way up", { parameters: { name: "a/../../b" } }],
      ["another destination", { parameters: { name: "ok", destination: "/elsewhere" } }],
      ["another repository", { parameters: { name: "ok", repository: "/elsewhere" } }],
      ["another user's place", { parameters: { name: "ok", user: "v@acme.example" } }],
      ["another program", { parameters: { name: "ok", program: "/bin/rm" } }],
      ["a user that could be an option", { user: "--help" }],
    ]
    for (const [name, change] of nothing) {
      it(`when the cloud names ${name}: ERR_JOB, no ekey is asked for`, async () => {
        open({ documents: script(MARK, { workflows: ["backup.scheduled"], parameters: { name: { pattern: "[-a-z/.\\n]+" } }, destination: "/srv/out/{user}" }) })
        assert.throws(() => { start({ parameters: { name: "ok" }, ...change }) }, (error) => {
          assert.ok(error instanceof EkeyError)
          assert.equal(error.code, "ERR_JOB")
          return !error.message.includes("elsewhere")
        })
        await runner.idle()
        assert.deepEqual([runner.runs, client.begun, reports, await readdir(folder)], [[], [], [], []])
        start({ parameters: { name: "ok" } })
        assert.equal((await finished()).state, "succeeded")
        assert.equal(await marks(), 1)
      })
    }

    it("hands every value over as one argument, whatever a shell would make of it", async () => {
      const job = JobDefinition.parse({
        program: "/bin/sh", args: ["-c", `printf '%s\\n' "$@" > '${folder}/args'`, "sh", "{repository}", "{destination}", "x{name}y"],
        repository: "/srv/{user}", destination: "/out/{user}", parameters: { name: { pattern: ".*" } },
      })
      open({ documents: job })
      start({ user: "../u$(id);`id`", parameters: { name: "{destination} $(touch pwned); `touch pwned` && x|y>z" } })
      await finished()
      const args = (await readFile(join(folder, "args"), "utf8")).trimEnd().split("\n")
      assert.deepEqual(args, ["/srv/%2E.%2Fu%24%28id%29%3B%60id%60", "/out/%2E.%2Fu%24%28id%29%3B%60id%60", "x{destination} $(touch pwned); `touch pwned` && x|y>zy"])
      assert.deepEqual(await readdir(folder), ["args"])
    })

    for (const [step, code] of [["onBegin", "ERR_NO_CONNECTOR"], ["onRelease", "ERR_DENIED"], ["onRelease", "ERR_DEADLINE"]] as const) {
      it(`without an ekey: ${code} at ${step === "onBegin" ? "the operation's begin" : "the release"} is the run's reason`, async () => {
        client[step] = () => Promise.reject(new EkeyError(code, "no"))
        open({ documents: script(MARK) })
        start()
        const outcome = await finished()
        assert.deepEqual(outcome, { state: "failed", exitCode: null, reason: code, detail: "no" })
        assert.deepEqual(client.ended, step === "onBegin" ? [] : [outcome])
        assert.equal(await marks(), 0)
      })
    }

    it("after a defect, whose words stay here", async () => {
      client.onRelease = () => Promise.reject(new TypeError("secret words"))
      open({ documents: script(MARK) })
      start()
      assert.deepEqual(await finished(), { state: "failed", exitCode: null, reason: "ERR_INTERNAL", detail: "internal error" })
    })
  })

  describe("reports as failed", () => {
    it("a program with another exit code than 0, with its last words", async () => {
      open({ documents: script("echo first; echo 'no space left' >&2; exit 3") })
      start()
      assert.deepEqual(await finished(), { state: "failed", exitCode: 3, reason: "ERR_JOB_FAILED", detail: "exit code 3: first\nno space left" })
    })

    it("a program that can't be started", async () => {
      open({ documents: JobDefinition.parse({ program: join(folder, "missing"), repository: "/srv" }) })
      start()
      const outcome = await finished()
      assert.ok(outcome.state === "failed")
      assert.deepEqual([outcome.exitCode, outcome.reason, outcome.detail], [null, "ERR_JOB", "the job's program could not be started"])
      assert.deepEqual([client.ended, client.handedOut], [[outcome], [Buffer.alloc(32)]])
    })

    it("a program that a signal ended", async () => {
      open({ documents: script("kill -9 $$") })
      start()
      const outcome = await finished()
      assert.deepEqual([outcome.state, outcome.exitCode], ["failed", 137])
    })

    it("a program that takes too long, which is ended, and not one millisecond before", async () => {
      open({ documents: script(WAIT, { timeoutSeconds: 60 }) })
      start()
      await until("the program", async () => await marks() === 1)
      await clock.tick(59_999)
      assert.equal(reports.length, 0)
      await clock.tick(1)
      const outcome = await ended()
      assert.deepEqual(outcome, { state: "failed", exitCode: 143, reason: "ERR_JOB_FAILED", detail: "the program took longer than 60 s" })
    })

    it("a program that prints its ekey, without the ekey", async () => {
      open({ documents: script("cat /dev/fd/3; cat /dev/fd/3 >&2; exit 1") })
      start()
      const outcome = await finished()
      for (const encoding of ["base64url", "hex", "base64"] as const) {
        assert.ok(!JSON.stringify([outcome, log.events]).includes(client.ekey.toString(encoding)))
      }
    })

    it("a job that is cancelled, and ends its program", async () => {
      open({ documents: script(WAIT) })
      start()
      await until("the program", async () => await marks() === 1)
      runner.cancel(runId(2))
      runner.cancel(runId(1))
      assert.deepEqual(await ended(), { state: "failed", exitCode: 143, reason: "ERR_JOB_FAILED", detail: "the job was cancelled" })
      runner.cancel(runId(1))
    })

    for (const [when, step, asked] of [["before its operation", "onBegin", 0], ["before it has its ekey", "onRelease", 1]] as const) {
      it(`a job that is cancelled ${when}, and runs nothing`, async () => {
        const gate = Promise.withResolvers<undefined>()
        client[step] = async () => { await gate.promise }
        open({ documents: script(MARK) })
        start()
        await until("the request", () => (step === "onBegin" ? client.begun : client.asked).length === 1)
        runner.cancel(runId(1))
        gate.resolve(undefined)
        assert.deepEqual(await finished(), { state: "failed", exitCode: null, reason: "ERR_JOB_FAILED", detail: "the job was cancelled" })
        assert.deepEqual([await marks(), client.asked.length, client.ended.length], [0, asked, 1])
      })
    }
  })

  describe("tells the cloud", () => {
    it("again and again until it hears, and has the run under way meanwhile", async () => {
      let away = 3
      onReport = () => away-- > 0 ? Promise.reject(new EkeyError("ERR_UNREACHABLE", "away")) : Promise.resolve()
      open({ documents: script(MARK) })
      start()
      for (let tries = 1; tries <= 3; tries++) {
        await clock.sleeping()
        assert.deepEqual([reports.length, runner.runs], [tries, [runId(1)]])
        await clock.tick(4_999)
        assert.equal(reports.length, tries)
        await clock.tick(1)
      }
      await until("the end", () => runner.runs.length === 0)
      assert.equal(reports.length, 4)
      assert.equal(new Set(reports.map(({ outcome }) => JSON.stringify(outcome))).size, 1)
    })

    it("no more once the cloud has given the run up", async () => {
      onReport = () => Promise.reject(new EkeyError("ERR_OPERATION", "no such run"))
      open({ documents: script(MARK) })
      start()
      await finished()
      assert.deepEqual([reports.length, runner.runs, clock.sleepers], [1, [], 0])
    })

    it("the run's end even when its operation can't be ended", async () => {
      client.onEnd = () => Promise.reject(new EkeyError("ERR_LINK_LOST", "gone"))
      open({ documents: script(MARK) })
      start()
      assert.equal((await finished()).state, "succeeded")
    })
  })

  describe("when it is stopped", () => {
    it("ends its programs, reports them, and takes nothing new: ERR_DRAINING", async () => {
      open({ documents: script(WAIT) })
      start()
      await until("the program", async () => await marks() === 1)
      stop.abort()
      assert.throws(() => { start({ run: runId(2) }) }, (error) => error instanceof EkeyError && error.code === "ERR_DRAINING" && error.retryable)
      assert.deepEqual(await ended(), { state: "failed", exitCode: 143, reason: "ERR_DRAINING", detail: "the worker was stopped while the job ran" })
      assert.equal(await marks(), 1)
    })

    it("tries to report once more, and no longer", async () => {
      onReport = () => Promise.reject(new EkeyError("ERR_UNREACHABLE", "away"))
      open({ documents: script(MARK) })
      start()
      await clock.sleeping()
      stop.abort()
      await runner.idle()
      assert.equal(reports.length, 2)
    })
  })
})
