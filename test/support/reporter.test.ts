import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const ROOT = fileURLToPath(new URL("../..", import.meta.url))
const REQUIREMENTS = new URL("requirements.ts", import.meta.url).href
const ELSEWHERE = process.platform === "win32" ? "linux" : "win32"

const PASSES = 'it("passes", () => undefined)'
const FAILS = 'it("fails", () => { assert.deepEqual({ size: 1 }, { size: 2 }) })'
const HOOK_FAILS = `describe("broken suite", () => {
  before(() => { throw new Error("no ground to stand on") })
  it("first", () => undefined)
  it("second", () => undefined)
})`
const UNEXPLAINED = 'it.skip("switched off", () => undefined)'
const ELSEWHERE_ONLY = `it("another platform", function () { requirePlatform(this, ["${ELSEWHERE}"], "it is special") })`
const PROGRAM_IN_TEST = 'it("one", function () { requireProgram(this, "no-such-program", "needed by one") })'
const PROGRAM_BEFORE_EACH = `describe("each", () => {
  beforeEach(function () { requireProgram(this, "no-such-program", "needed by each") })
  it("two", () => undefined)
  it("three", () => undefined)
})`
const PROGRAM_BEFORE_ALL = `describe("all", () => {
  before(function () { requireProgram(this, "no-such-program", "needed by all") })
  it("four", () => undefined)
  describe("nested", () => { it("five", () => undefined) })
})`

interface Run {
  readonly status: number | null
  readonly lines: readonly string[]
  readonly last: string | undefined
}

describe("reporter", function () {
  this.timeout(60_000) // Each test starts a process.

  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "reporter-"))
  })

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it("ends with the counts, alone on the last line", () => {
    const run = report([PASSES])
    assert.deepEqual([run.status, run.last], [0, "1 passed, 0 failed, 0 skipped"])
  })

  it("shows a failure with its difference, and counts a broken hook as failed", () => {
    const run = report([PASSES, FAILS, HOOK_FAILS])
    assert.deepEqual([run.status, run.last], [2, "1 passed, 2 failed, 0 skipped"])
    assert.ok(run.lines.some((line) => /^\s+-\s+"size": 1$/.test(line)), "the difference")
    assert.ok(run.lines.includes("2 tests did not run because a hook failed"))
  })

  it("lists each skipped test with its reason", () => {
    const run = report([PASSES, PROGRAM_IN_TEST, PROGRAM_BEFORE_EACH, PROGRAM_BEFORE_ALL, ELSEWHERE_ONLY, UNEXPLAINED])
    assert.deepEqual([run.status, run.last], [0, "1 passed, 0 failed, 7 skipped"])
    const skipped = run.lines.slice(run.lines.indexOf("Skipped:") + 1, -2)
    const rows = new Map(skipped.flatMap((line, at) => at % 2 === 0 ? [[line.trim(), skipped[at + 1]?.trim()]] : []))
    assert.deepEqual(Object.fromEntries(rows), {
      "one": "no-such-program is not installed: needed by one",
      "each > two": "no-such-program is not installed: needed by each",
      "each > three": "no-such-program is not installed: needed by each",
      "all > four": "no-such-program is not installed: needed by all",
      "all > nested > five": "no-such-program is not installed: needed by all",
      "another platform": `needs ${ELSEWHERE}, this is ${process.platform}: it is special`,
      "switched off": "no reason given",
    })
  })

  it("fails in CI what was skipped without a reason, and lets other platforms' tests be skipped", () => {
    const run = report([PASSES, ELSEWHERE_ONLY, UNEXPLAINED], "true")
    assert.deepEqual([run.status, run.last], [1, "1 passed, 1 failed, 1 skipped"])
  })

  it("fails in CI what a missing program would have skipped", () => {
    const run = report([PASSES, PROGRAM_IN_TEST, PROGRAM_BEFORE_ALL], "true")
    assert.deepEqual([run.status, run.last], [2, "1 passed, 2 failed, 0 skipped"])
  })

  function report(tests: readonly string[], ci = ""): Run {
    const file = join(folder, "some.test.ts")
    const imports = `import assert from "node:assert/strict"
import { requirePlatform, requireProgram } from "${REQUIREMENTS}"
void [assert, requirePlatform, requireProgram]`
    writeFileSync(file, [imports, ...tests].join("\n"))
    const mocha = join(ROOT, "node_modules", "mocha", "bin", "mocha.js")
    const args = ["--disable-warning=ExperimentalWarning", mocha, "--no-color", file]
    const { status, stdout } = spawnSync(process.execPath, args, { cwd: ROOT, env: { ...process.env, CI: ci }, encoding: "utf8" })
    const lines = stdout.split("\n")
    assert.equal(lines.pop(), "", "the last line ends")
    return { status, lines, last: lines.at(-1) }
  }
})
