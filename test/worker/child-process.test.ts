import assert from "node:assert/strict"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate as nextTurn } from "node:timers/promises"
import { systemClock } from "../../src/base/clock.ts"
import { cleanEnvironment } from "../../src/worker/child-environment.ts"
import { LineSplitter } from "../../src/worker/child-output.ts"
import { runChild } from "../../src/worker/child-process.ts"
import type { ChildRequest, ChildResult } from "../../src/worker/child-process.ts"
import { EkeyMask } from "../../src/worker/ekey-mask.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { requirePlatform } from "../support/requirements.ts"

const NEVER = new AbortController().signal
const PATH = "/usr/local/bin:/usr/bin:/bin"
const GRACE_MS = 5_000

function shell(script: string, options: Partial<ChildRequest> = {}): Promise<ChildResult> {
  return runChild({ program: "/bin/sh", args: ["-c", script], env: { PATH }, stdio: "log", signal: NEVER, clock: systemClock, ...options })
}

/** Runs a script, and hands over the process ids that it prints, one a line, as soon as it said "ready". */
async function started(script: string, options: Partial<ChildRequest>): Promise<{ pids: number[]; ended: Promise<ChildResult> }> {
  const { promise: ready, resolve } = Promise.withResolvers<number[]>()
  const pids: number[] = []
  const ended = shell(script, { ...options, onLine: (line) => { if (line === "ready") resolve(pids); else pids.push(Number(line)) } })
  return { pids: await Promise.race([ready, ended.then(() => pids)]), ended }
}

/** A process that has ended may stay listed as a zombie until its parent looks. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/\) [ZX] /.test(await readFile(`/proc/${String(pid)}/stat`, "utf8"))
  } catch {
    return false // Not listed.
  }
}

describe("running a child program", () => {
  before(function () { requirePlatform(this, ["linux"], "the tests' children are shell scripts, watched in /proc") })

  it("returns the child's own exit code", async () => {
    assert.deepEqual(await shell("exit 37"), { exitCode: 37, signal: null, tail: "" })
  })

  it("says 128 plus the signal when a signal ended the child", async () => {
    const { exitCode, signal } = await shell("kill -KILL $$")
    assert.deepEqual({ exitCode, signal }, { exitCode: 137, signal: "SIGKILL" })
  })

  it("passes arguments as they are, with no shell between", async () => {
    const lines: string[] = []
    const args = ["$HOME", "a b", "; exit 1", "*", "", "'"]
    await runChild({
      program: "/usr/bin/printf", args: ["[%s]\\n", ...args], env: { PATH }, stdio: "log", signal: NEVER, clock: systemClock,
      onLine: (line) => { lines.push(line) },
    })
    assert.deepEqual(lines, args.map((arg) => `[${arg}]`))
  })

  it("gives the child exactly the environment that it is told to", async () => {
    const lines: string[] = []
    await runChild({
      program: "/usr/bin/env", args: [], env: { ONLY: "this" }, stdio: "log", signal: NEVER, clock: systemClock,
      onLine: (line) => { lines.push(line) },
    })
    assert.deepEqual(lines, ["ONLY=this"])
  })

  it("gives it no stdin, so that it can't wait for one", async () => {
    assert.equal((await shell("cat; echo end")).tail, "end")
  })

  it("runs it in the folder asked for", async () => {
    assert.equal((await shell("pwd", { cwd: "/" })).tail, "/")
  })

  describe("that can't be started", () => {
    let folder: string
    beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "ekey-test-")) })
    afterEach(async () => { await rm(folder, { recursive: true }) })

    for (const [name, prepare] of [
      ["is missing", (path: string) => Promise.resolve(path)],
      ["is not executable", async (path: string) => { await writeFile(path, "", { mode: 0o600 }); return path }],
      ["has a NUL in its name", (path: string) => Promise.resolve(`${path}\0`)],
    ] as const) {
      it(`is a named error when it ${name}, with nothing of its path in the message`, async () => {
        const program = await prepare(join(folder, "program"))
        await assert.rejects(runChild({ program, args: [], env: {}, stdio: "log", signal: NEVER, clock: systemClock }), (error: Error & { code?: string }) => {
          assert.equal(error.code, "ERR_JOB")
          assert.equal(error.message.includes(folder), false)
          return true
        })
      })
    }
  })

  describe("cancelled", () => {
    let abort: AbortController
    beforeEach(() => { abort = new AbortController() })
    afterEach(() => { abort.abort() })

    it("starts nothing when it was before the start", async () => {
      const reason = new Error("changed my mind")
      await assert.rejects(runChild({
        program: "/nonexistent", args: [], env: {}, stdio: "log", signal: AbortSignal.abort(reason), clock: systemClock,
      }), reason)
    })

    for (const stdio of ["log", "inherit"] as const) {
      it(stdio === "log" ? "ends the child and what it started" : "ends the child alone when it shares the terminal, whose group is not its own", async () => {
        const folder = await mkdtemp(join(tmpdir(), "ekey-test-"))
        try {
          // In `inherit` mode nobody reads the output for us: the processes tell by way of a pipe.
          const pipe = join(folder, "pipe")
          await shell(`mkfifo ${pipe}`)
          const reading = readFile(pipe, "utf8")
          const ended = shell(`sleep 1000 & first=$!; sleep 1001 & echo $$ $first $! > ${pipe}; wait`, { stdio, signal: abort.signal, graceMs: GRACE_MS })
          const pids = (await reading).trim().split(/\s+/).map(Number)
          assert.equal(pids.length, 3)
          abort.abort()
          const { exitCode, signal } = await ended
          assert.deepEqual({ exitCode, signal }, { exitCode: 143, signal: "SIGTERM" })
          const others = stdio === "inherit"
          assert.deepEqual(await Promise.all(pids.map(isRunning)), [false, others, others])
          if (others) for (const pid of pids.slice(1)) process.kill(pid)
        } finally {
          await rm(folder, { recursive: true })
        }
      })
    }

    it("kills a child that ignores SIGTERM when the grace is over, and not one millisecond before", async () => {
      const clock = new FakeClock()
      const { pids, ended } = await started("trap '' TERM; echo $$; echo ready; while :; do sleep 1000; done", { signal: abort.signal, clock, graceMs: GRACE_MS })
      abort.abort()
      await clock.tick(GRACE_MS - 1)
      assert.equal(clock.callbacks, 1, "killed too early")
      assert.equal(await isRunning(pids[0] ?? 0), true)
      await clock.tick(1)
      assert.equal((await ended).exitCode, 137)
    })

    it("kills a grandchild that ignores SIGTERM, though the child itself has ended", async () => {
      const clock = new FakeClock()
      const { pids, ended } = await started("sh -c 'trap \"\" TERM; echo $$; echo ready; while :; do sleep 1000; done' & wait", { signal: abort.signal, clock, graceMs: GRACE_MS })
      abort.abort()
      await clock.sleeping()
      assert.equal(await isRunning(pids[0] ?? 0), true)
      await clock.tick(GRACE_MS)
      assert.equal((await ended).signal, "SIGTERM")
      assert.equal(await isRunning(pids[0] ?? 0), false)
    })
  })

  it("does not wait for ever for output when something that was left behind holds the pipe", async () => {
    const clock = new FakeClock()
    const { pids, ended } = await started("sleep 1000 & echo $!; echo ready", { clock })
    while (clock.callbacks === 0) await nextTurn()
    await clock.tick(60_000)
    assert.equal((await ended).exitCode, 0)
    assert.equal(await isRunning(pids[0] ?? 0), true)
    process.kill(pids[0] ?? 0, "SIGKILL")
  })

  describe("its output", () => {
    it("comes line by line, with the stream it came from", async () => {
      const lines: string[] = []
      await shell("printf 'one\\ntwo\\r\\nthree'; echo four >&2", { onLine: (line, stream) => { lines.push(`${stream} ${line}`) } })
      assert.deepEqual(lines.sort(), ["stderr four", "stdout one", "stdout three", "stdout two"])
    })

    it("is masked before it is told or kept", async () => {
      const lines: string[] = []
      const { tail } = await shell("echo the secret is out", {
        mask: (line) => line.replace("secret", "[ekey]"), onLine: (line) => { lines.push(line) },
      })
      assert.deepEqual([...lines, tail], ["the [ekey] is out", "the [ekey] is out"])
    })

    it("leaves its last 2,000 characters for the reason of a failure", async () => {
      const { tail } = await shell("i=0; while [ $i -lt 1000 ]; do echo line-$i; i=$((i+1)); done; echo at last >&2")
      assert.ok(tail.length <= 2_000 && tail.length > 1_900, String(tail.length))
      assert.match(tail, /line-999/)
      assert.match(tail, /at last/)
    })

    it("cuts a line that has no end, and holds no more of it", async () => {
      const lines: string[] = []
      await shell("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo next", { maxLine: 100, onLine: (line) => { lines.push(line) } })
      assert.deepEqual(lines, [`${"x".repeat(100)}…`, "next"])
    })
  })
})

describe("splitting output into lines", () => {
  function split(chunks: readonly (string | Buffer)[], maxLine = 100, mask = (text: string): string => text): string[] {
    const lines: string[] = []
    const splitter = new LineSplitter({ maxLine }, mask, (line) => { lines.push(line) })
    for (const chunk of chunks) splitter.push(Buffer.from(chunk))
    splitter.end()
    return lines
  }

  it("gives the same lines however the bytes are cut", () => {
    const bytes = Buffer.from("é\n\nzwei €\nend")
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(split([bytes.subarray(0, at), bytes.subarray(at)]), ["é", "", "zwei €", "end"])
    }
  })

  it("leaves a line of the greatest length whole, and cuts one that is longer", () => {
    assert.deepEqual(split(["x".repeat(100), "\n", "y".repeat(101)]), ["x".repeat(100), `${"y".repeat(100)}…`])
  })

  it("leaves no part of an ekey on either side of a cut", () => {
    const ekey = Buffer.alloc(32, 0xa7)
    const mask = new EkeyMask(ekey)
    for (const spelling of [ekey.toString("base64url"), ekey.toString("hex")]) {
      for (let before = 0; before <= 100; before++) {
        const lines = split([".".repeat(before), spelling, "z".repeat(300)], 100, (text) => mask.mask(text))
        assert.equal(lines.length, 1)
        assert.equal((lines[0] ?? "").includes(spelling.slice(0, 3)), false)
      }
    }
  })
})

describe("a child's clean environment", () => {
  it("has what programs need and what is named, and nothing else", () => {
    const base = { PATH: "/bin", HOME: "/root", LC_ALL: "C", AWS_SECRET_ACCESS_KEY: "x", NODE_OPTIONS: "--inspect", LD_PRELOAD: "y", ASKED: "1", GONE: undefined }
    assert.deepEqual(cleanEnvironment(base, ["ASKED", "GONE"]), { PATH: "/bin", HOME: "/root", LC_ALL: "C", ASKED: "1" })
  })
})
