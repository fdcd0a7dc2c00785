import assert from "node:assert/strict"
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { findProgram, isCi, requirePlatform, requireProgram } from "./requirements.ts"

describe("requirements", () => {
  const ci = process.env["CI"]

  afterEach(() => {
    if (ci === undefined) delete process.env["CI"]
    else process.env["CI"] = ci
  })

  it("let a test run whose program and platform are there", function () {
    requireProgram(this, "node", "runs these tests")
    requirePlatform(this, [process.platform], "this one")
  })

  it("fail a test in CI whose program is missing", function () {
    process.env["CI"] = "true"
    assert.throws(() => { requireProgram(this, "no-such-program", "nothing") }, {
      message: "CI must not skip this: no-such-program is not installed: nothing",
    })
  })

  it("take CI for set unless it is empty, 0 or false", () => {
    const verdicts = ["true", "1", "yes", "", "0", "false"].map((value) => {
      process.env["CI"] = value
      return isCi()
    })
    delete process.env["CI"]
    assert.deepEqual([...verdicts, isCi()], [true, true, true, false, false, false, false])
  })
})

describe("findProgram", () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "programs-"))
  })

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  it("finds an executable file in a later folder of the path", async () => {
    const program = join(folder, process.platform === "win32" ? "tool.exe" : "tool")
    await writeFile(program, "", { mode: 0o755 })
    assert.equal(findProgram("tool", ["/no/such/folder", "", folder].join(delimiter)), program)
  })

  it("finds neither a file that can't be executed nor a folder", async function () {
    requirePlatform(this, ["linux", "darwin"], "elsewhere the name's ending decides what can be executed")
    await writeFile(join(folder, "tool"), "")
    await chmod(join(folder, "tool"), 0o644)
    await mkdir(join(folder, "other"))
    assert.equal(findProgram("tool", folder), null)
    assert.equal(findProgram("other", folder), null)
  })
})
