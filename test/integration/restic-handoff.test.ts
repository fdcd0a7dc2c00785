import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "../../src/base/clock.ts"
import { runChild } from "../../src/worker/child-process.ts"
import { withEkeyHandoff } from "../../src/worker/ekey-handoff.ts"
import type { EkeyHandoff } from "../../src/worker/ekey-handoff.ts"
import { findProgram, requirePlatform, requireProgram } from "../support/requirements.ts"

const WAYS: readonly { name: string; handoff: EkeyHandoff; flags: readonly string[] }[] = [
  { name: "--password-file /dev/fd/3", handoff: { via: "fd" }, flags: ["--password-file", "/dev/fd/3"] },
  { name: "RESTIC_PASSWORD_COMMAND", handoff: { via: "password-command", name: "RESTIC_PASSWORD_COMMAND" }, flags: [] },
  { name: "RESTIC_PASSWORD", handoff: { via: "environment", name: "RESTIC_PASSWORD" }, flags: [] },
]

describe("restic with an ekey as its password", function () {
  this.timeout(60_000)
  let folder: string

  before(function () {
    requirePlatform(this, ["linux"], "the ekey is in a file in memory")
    requireProgram(this, "restic", "real backups by the program that jobs run")
  })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-test-"))
    await mkdir(join(folder, "source/inner"), { recursive: true })
    await writeFile(join(folder, "source/inner/file"), "content")
  })
  afterEach(async () => { await rm(folder, { recursive: true }) })

  function restic(way: { handoff: EkeyHandoff; flags: readonly string[] }, ekey: Buffer, ...args: string[]): Promise<{ exitCode: number; tail: string }> {
    return withEkeyHandoff(way.handoff, ekey, (handed) => runChild({
      program: findProgram("restic") ?? "", args: ["--repo", join(folder, "repository"), "--no-cache", ...way.flags, ...args],
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder, ...handed.env }, cwd: folder, extraStdio: handed.extraStdio, mask: handed.mask,
      stdio: "log", signal: new AbortController().signal, clock: systemClock,
    }))
  }

  async function succeed(...args: Parameters<typeof restic>): Promise<void> {
    const { exitCode, tail } = await restic(...args)
    assert.equal(exitCode, 0, tail)
  }

  for (const way of WAYS) {
    it(`backs up and restores by ${way.name}`, async () => {
      const ekey = randomBytes(32)
      await succeed(way, ekey, "init")
      await succeed(way, ekey, "backup", "source")
      await succeed(way, ekey, "restore", "latest", "--target", join(folder, "target"))
      assert.deepEqual(await readdir(join(folder, "target")), ["source"])
      assert.equal(await readFile(join(folder, "target/source/inner/file"), "utf8"), "content")
    })
  }

  it("opens one repository by every way, and by none with another ekey", async () => {
    const ekey = randomBytes(32)
    const [first] = WAYS
    assert.ok(first)
    await succeed(first, ekey, "init")
    for (const way of WAYS) {
      await succeed(way, ekey, "snapshots")
      const refused = await restic(way, randomBytes(32), "snapshots")
      assert.notEqual(refused.exitCode, 0)
      assert.match(refused.tail, /wrong password|no key found/)
    }
  })
})
