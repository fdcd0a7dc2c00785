import assert from "node:assert/strict"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chooseEngine } from "../../../src/bin/quickstart/engine.ts"
import { buildCommand } from "../../../src/worker/job-command.ts"
import { JobDefinition } from "../../../src/worker/job-definition.ts"

describe("the quickstart's engine", () => {
  let folder: string

  beforeEach(async () => { folder = await mkdtemp(join(tmpdir(), "ekey-engine-")) })
  afterEach(async () => { await rm(folder, { recursive: true, force: true }) })

  it("is restic where the search path has it", async () => {
    await writeFile(join(folder, "restic"), "")
    await chmod(join(folder, "restic"), 0o755)
    assert.equal((await chooseEngine("auto", `relative:${folder}`))?.name, "restic")
  })

  it("is the archive engine where it has not, or where restic can't be executed", async () => {
    assert.equal((await chooseEngine("auto", folder))?.name, "archive")
    await writeFile(join(folder, "restic"), "")
    await chmod(join(folder, "restic"), 0o644)
    assert.equal((await chooseEngine("auto", folder))?.name, "archive")
  })

  it("is not replaced by another when restic was asked for and is not there", async () => {
    assert.equal(await chooseEngine("restic", folder), null)
  })

  it("defines a job that backs up a source whose name has braces", async () => {
    const engine = await chooseEngine("archive", folder)
    const job = JobDefinition.parse(engine?.job("/data/{user} {x}", "/repository"))
    const { args } = buildCommand(job, { user: "user-1", parameters: {} })
    assert.equal(args.at(-1), "/data/{user} {x}")
    assert.equal(args[args.indexOf("--repository") + 1], "/repository")
  })
})
