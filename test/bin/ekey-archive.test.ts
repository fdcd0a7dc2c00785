import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { chmod, mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { systemClock } from "../../src/base/clock.ts"
import { runChild } from "../../src/worker/child-process.ts"
import { withEkeyHandoff } from "../../src/worker/ekey-handoff.ts"
import { requirePlatform } from "../support/requirements.ts"

const PROGRAM = fileURLToPath(new URL("../../src/bin/ekey-archive.ts", import.meta.url))

interface Run { exitCode: number; out: string[]; err: string[] }

describe("ekey-archive", function () {
  this.timeout(30_000)
  let folder: string
  let source: string
  const ekey = randomBytes(32)

  before(function () { requirePlatform(this, ["linux"], "it gets its ekey at /dev/fd/3") })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-test-"))
    source = join(folder, "source")
    await mkdir(source)
    await writeFile(join(source, "a"), "content")
  })
  afterEach(async () => { await rm(folder, { recursive: true }) })

  /** Runs the program in the test's folder with the ekey at descriptor 3. */
  function run(...args: string[]): Promise<Run> {
    return withEkeyHandoff({ via: "fd" }, ekey, async (handed) => {
      const out: string[] = []
      const err: string[] = []
      const { exitCode } = await runChild({
        program: process.execPath, args: ["--disable-warning=ExperimentalWarning", PROGRAM, ...args], cwd: folder, env: handed.env, extraStdio: handed.extraStdio,
        stdio: "log", signal: new AbortController().signal, clock: systemClock,
        onLine: (line, stream) => { (stream === "stdout" ? out : err).push(line) },
      })
      return { exitCode, out, err }
    })
  }

  const REPOSITORY = ["--repository", "repository"]
  const KEY = ["--password-file", "/dev/fd/3"]

  it("backs up, lists and restores, and says what it did as JSON on the last line", async () => {
    const made = await run("backup", ...REPOSITORY, ...KEY, "--json", "source")
    assert.equal(made.exitCode, 0, made.err.join("\n"))
    const summary: unknown = JSON.parse(made.out.at(-1) ?? "")
    const [archive] = await readdir(join(folder, "repository"))
    assert.deepEqual(summary, { files: 1, bytes: 7, archive, special: 0, problemCount: 0, problems: [] })

    const listed = await run("list", ...REPOSITORY)
    assert.equal(listed.exitCode, 0)
    assert.match(listed.out.join("\n"), new RegExp(`^${String(archive)}  \\d+ bytes$`))

    const brought = await run("restore", ...REPOSITORY, ...KEY, "--json", "--target", "target")
    assert.equal(brought.exitCode, 0, brought.err.join("\n"))
    assert.deepEqual(JSON.parse(brought.out.at(-1) ?? ""), { files: 1, bytes: 7, archive })
    assert.deepEqual(await readdir(join(folder, "target")), ["a"])
  })

  it("exits 3 when something could not be kept, names it so that a terminal is safe, and makes the archive", async () => {
    await writeFile(Buffer.concat([Buffer.from(`${source}/\x1b[31m`), Buffer.from([0xff])]), "")
    const made = await run("backup", ...REPOSITORY, ...KEY, "source")
    assert.equal(made.exitCode, 3)
    assert.deepEqual(made.err, ['name: "\\u001b[31m\ufffd"'])
    assert.equal((await run("restore", ...REPOSITORY, ...KEY, "--target", "target")).exitCode, 0)
  })

  it("exits 1 for a failure, and says its code, its cause and how to mend it", async () => {
    const failed = await run("restore", ...REPOSITORY, ...KEY, "--target", "target")
    assert.equal(failed.exitCode, 1)
    assert.deepEqual(failed.out, [])
    assert.match(failed.err.join("\n"), /^ekey-archive: the archive could not be restored \(ERR_ARCHIVE\)\n {2}cause: ENOENT.*\n {2}mend: .+$/)
  })

  for (const [name, args, setting] of [
    ["no command", [], "Usage:"],
    ["an unknown command", ["bakcup"], "bakcup"],
    ["an unknown flag", ["list", ...REPOSITORY, "--verbose"], "--verbose"],
    ["no repository", ["backup", ...KEY, "source"], "--repository"],
    ["no password file", ["backup", ...REPOSITORY, "source"], "--password-file"],
    ["no source", ["backup", ...REPOSITORY, ...KEY], "source"],
    ["a source too many", ["backup", ...REPOSITORY, ...KEY, "source", "source"], "too many arguments"],
    ["no target", ["restore", ...REPOSITORY, ...KEY], "--target"],
  ] as const) {
    it(`exits 2 with ${name}, and names it`, async () => {
      const wrong = await run(...args)
      assert.equal(wrong.exitCode, 2)
      assert.ok(wrong.err.join("\n").includes(setting), wrong.err.join("\n"))
    })
  }

  for (const args of [["--help"], ["backup", "--help"], ["restore", "--help"], ["list", "--help"]]) {
    it(`explains itself with examples: ${args.join(" ")}`, async () => {
      const { exitCode, out } = await run(...args)
      assert.equal(exitCode, 0)
      assert.match(out.join("\n"), /Examples:\n {2}\$ ekey-archive backup /)
    })
  }

  it("refuses a password file that others may read", async function () {
    await writeFile(join(folder, "key"), ekey.toString("base64url"))
    await chmod(join(folder, "key"), 0o640)
    const refused = await run("backup", ...REPOSITORY, "--password-file", "key", "source")
    assert.equal(refused.exitCode, 1)
    assert.match(refused.err.join("\n"), /ERR_FILE/)
  })

  for (const [name, content] of [["a passphrase", "hunter2"], ["nothing", ""]] as const) {
    it(`refuses a password file that holds ${name} instead of an ekey, without repeating it`, async () => {
      await writeFile(join(folder, "key"), content, { mode: 0o600 })
      const refused = await run("backup", ...REPOSITORY, "--password-file", "key", "source")
      assert.equal(refused.exitCode, 1)
      assert.match(refused.err.join("\n"), /ERR_FILE/)
      assert.equal(content !== "" && refused.err.join("\n").includes(content), false)
      assert.deepEqual((await readdir(folder)).sort(), ["key", "source"])
    })
  }

  it("ends with 143 at SIGTERM, and leaves nothing behind", async () => {
    // A sparse file of a tebibyte: nothing on disk, and no end in sight.
    const big = await open(join(source, "big"), "w")
    await big.truncate(2 ** 40)
    await big.close()
    const abort = new AbortController()
    const running = withEkeyHandoff({ via: "fd" }, ekey, (handed) => runChild({
      program: process.execPath, args: ["--disable-warning=ExperimentalWarning", PROGRAM, "backup", ...REPOSITORY, ...KEY, "source"],
      cwd: folder, env: handed.env, extraStdio: handed.extraStdio, stdio: "log", signal: abort.signal, clock: systemClock,
    }))
    while ((await readdir(join(folder, "repository")).catch(() => [])).length === 0) await new Promise(setImmediate)
    abort.abort()
    const { exitCode, signal } = await running
    assert.deepEqual({ exitCode, signal }, { exitCode: 143, signal: null })
    assert.deepEqual(await readdir(join(folder, "repository")), [])
  })
})
