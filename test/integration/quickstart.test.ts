import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { z } from "zod"
import { systemClock } from "../../src/base/clock.ts"
import { requireProgram } from "../support/requirements.ts"

const PROJECT = join(import.meta.dirname, "..", "..")

const LastLine = z.strictObject({
  backup: z.strictObject({ files: z.int(), bytes: z.int(), engine: z.enum(["restic", "archive"]), ms: z.number().min(0) }),
  restore: z.strictObject({ identical: z.literal(true), ms: z.number().min(0) }),
  release: z.strictObject({ ms: z.number().min(0) }),
  custody: z.literal("connector"),
})

describe("the quickstart", function () {
  this.timeout(120_000)
  let folder: string
  let source: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-quickstart-"))
    source = join(folder, "source {a}")
    await mkdir(join(source, "empty folder"), { recursive: true })
    await writeFile(join(source, "ünïcode"), "text")
    await writeFile(join(source, "large"), Buffer.alloc(3_000_000, 1))
    await writeFile(join(source, "script"), "#!/bin/sh\n")
    await chmod(join(source, "script"), 0o750)
    await symlink("large", join(source, "link"))
  })
  after(async () => { await rm(folder, { recursive: true, force: true }) })

  it("backs up with the archive engine, restores an identical tree, and says so on its last line", async () => {
    const { exitCode, lastLine } = await run(["--once", "--json", "--engine", "archive"])
    assert.equal(exitCode, 0)
    const { backup } = LastLine.parse(JSON.parse(lastLine))
    assert.deepEqual({ engine: backup.engine, files: backup.files, bytes: backup.bytes }, { engine: "archive", files: 3, bytes: 3_000_014 })
  })

  it("keeps its state: a second start, with restic, has the same ekey and the same identities", async function () {
    requireProgram(this, "restic", "the quickstart uses restic where it is installed")
    const vault = await readFile(join(folder, "data", "connector", "root.key"))
    const identity = await readFile(join(folder, "data", "worker", "identity", "identity.pem"))
    const { exitCode, lastLine } = await run(["--once", "--json", "--engine", "restic"])
    assert.equal(exitCode, 0)
    assert.equal(LastLine.parse(JSON.parse(lastLine)).backup.engine, "restic")
    assert.deepEqual(await readFile(join(folder, "data", "connector", "root.key")), vault)
    assert.deepEqual(await readFile(join(folder, "data", "worker", "identity", "identity.pem")), identity)
  })

  it("stops everything when it is interrupted in the middle", async () => {
    const child = start([])
    const output = text(child.stderr)
    child.stdout.resume()
    await eventually(async () => (await processesOf(folder)).length >= 4)
    child.kill("SIGINT")
    const [exitCode] = await once(child, "close") as [number | null]
    assert.equal(exitCode, 0, await output)
    assert.deepEqual(await processesOf(folder), [])
  })

  it("leaves no process behind when it is killed", async () => {
    const child = start([])
    child.stdout.resume()
    child.stderr.resume()
    await eventually(async () => (await processesOf(folder)).length >= 4)
    child.kill("SIGKILL")
    await once(child, "close")
    await eventually(async () => (await processesOf(folder)).length === 0)
  })

  for (const [name, args] of [
    ["an unknown flag", ["--bogus"]],
    ["a source that is not there", ["--source", "/nonexistent"]],
    ["a data folder inside the source", ["--data", "/tmp/x/y", "--source", "/tmp"]],
  ] as const) {
    it(`refuses ${name} with exit code 2`, async () => {
      assert.equal((await run(args)).exitCode, 2)
    })
  }

  function start(args: readonly string[]) {
    return spawn(process.execPath, [...process.execArgv, join(PROJECT, "src", "bin", "quickstart.ts"), "--data", join(folder, "data"), "--source", source, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  }

  async function run(args: readonly string[]): Promise<{ exitCode: number | null; lastLine: string }> {
    const child = start(args)
    const [stdout, stderr, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close") as Promise<[number | null]>])
    if (exitCode !== 0) process.stderr.write(stderr.slice(-500))
    return { exitCode, lastLine: stdout.trimEnd().split("\n").at(-1) ?? "" }
  }
})

/** Process ids whose command line names the folder. */
async function processesOf(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue
    const commandLine = await readFile(join("/proc", pid, "cmdline"), "utf8").catch(() => "")
    if (commandLine.includes(join(folder, "data")) && !commandLine.includes("quickstart.ts")) found.push(pid)
  }
  return found
}

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await check().catch(() => false)) return
    await systemClock.sleep(100)
  }
  assert.fail("it did not come about within 30 s")
}
