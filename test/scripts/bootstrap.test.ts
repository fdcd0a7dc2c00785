import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import type { ChildProcessByStdio } from "node:child_process"
import type { Readable } from "node:stream"
import { requirePlatform } from "../support/requirements.ts"

/**
 * Stands in npm's place: notes its arguments, waits for the file `go` if there is a file `wait`,
 * fails if there is a file `fail`, and else installs what the lock file names, as files alone.
 */
const FAKE_NPM = `
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
appendFileSync("calls", process.argv.slice(2).join(" ") + "\\n")
const turn = () => new Promise((resolve) => setTimeout(resolve, 5))
if (existsSync("wait")) while (!existsSync("go")) await turn()
if (existsSync("fail")) {
  console.error("npm error the registry is away")
  process.exit(1)
}
rmSync("node_modules", { recursive: true, force: true })
mkdirSync("node_modules/.bin", { recursive: true })
cpSync("package-lock.json", "node_modules/.package-lock.json")
if (existsSync("old-node")) writeFileSync("node_modules/.bin/node", "#!/bin/sh\\necho v20.20.2\\n", { mode: 0o755 })
else if (!existsSync("no-node")) symlinkSync(process.execPath, "node_modules/.bin/node")
`

const LOCK = { packages: {
  "": { version: "1.0.0" },
  "node_modules/ws": { version: "8.0.0", integrity: "sha512-one" },
  "node_modules/mocha": { version: "12.0.0", integrity: "sha512-two", dev: true },
  "node_modules/keytar": { version: "7.0.0", integrity: "sha512-three", optional: true },
} }

type Child = ChildProcessByStdio<null, Readable, Readable>

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

describe("bootstrap", function () {
  let root: string

  before(function () {
    requirePlatform(this, ["linux"], "stands symbolic links and a shell script in npm's and Node's place")
  })

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "bootstrap-"))
    await mkdir(join(root, "scripts"))
    await copyFile(new URL("../../scripts/bootstrap.mjs", import.meta.url), join(root, "scripts", "bootstrap.mjs"))
    await writeFile(join(root, "package.json"), '{ "type": "module" }')
    await writeFile(join(root, "npm-cli.js"), FAKE_NPM)
    await writeLock(LOCK)
  })

  afterEach(async () => {
    await rm(root, { recursive: true, force: true })
  })

  it("installs once, with the pinned Node and the tools, and says so on stderr alone", async () => {
    const first = await finish(start())
    assert.deepEqual([first.code, first.stdout], [0, ""])
    assert.match(first.stderr, /^bootstrap: installing .*\n$/)
    const second = await finish(start())
    assert.deepEqual(second, { code: 0, stdout: "", stderr: "" })
    const calls = await npmCalls()
    assert.equal(calls.length, 1)
    assert.match(calls[0] ?? "", /^ci --include=optional --include=dev /)
  })

  it("installs again when the lock file has changed", async () => {
    await finish(start())
    await writeLock({ packages: { ...LOCK.packages, "node_modules/ws": { version: "8.0.1", integrity: "sha512-new" } } })
    assert.equal((await finish(start())).code, 0)
    assert.equal((await npmCalls()).length, 2)
  })

  it("takes what npm has installed by hand, optional packages of other platforms left out", async () => {
    await finish(start())
    await writeFile(join(root, "node_modules", ".package-lock.json"), lockWithout("node_modules/keytar"))
    await rm(join(root, "node_modules", ".bootstrap-stamp"))
    assert.deepEqual(await finish(start()), { code: 0, stdout: "", stderr: "" })
    assert.equal((await npmCalls()).length, 1)
  })

  it("does not take an install by hand without the development packages, with other content, or broken", async () => {
    await finish(start())
    const altered = { ...LOCK.packages, "node_modules/ws": { version: "8.0.0", integrity: "sha512-other" } }
    const records = [lockWithout("node_modules/mocha"), JSON.stringify({ packages: altered }), "{", "{}"]
    for (const record of records) {
      await writeFile(join(root, "node_modules", ".package-lock.json"), record)
      await rm(join(root, "node_modules", ".bootstrap-stamp"))
      await finish(start())
    }
    assert.equal((await npmCalls()).length, 1 + records.length)
  })

  it("installs again when the pinned Node has gone", async () => {
    await finish(start())
    await rm(join(root, "node_modules", ".bin", "node"))
    assert.equal((await finish(start())).code, 0)
    assert.equal((await npmCalls()).length, 2)
  })

  it("passes npm's output on when it fails, exits 1 and tries again the next time", async () => {
    await writeFile(join(root, "fail"), "")
    const failed = await finish(start())
    assert.equal(failed.code, 1)
    assert.match(failed.stderr, /npm error the registry is away\nbootstrap: npm ci failed/)
    assert.deepEqual(await leftovers(), [])
    await rm(join(root, "fail"))
    assert.equal((await finish(start())).code, 0)
  })

  it("fails by name when there is no lock file", async () => {
    await rm(join(root, "package-lock.json"))
    const failed = await finish(start())
    assert.equal(failed.code, 1)
    assert.equal(failed.stderr, "bootstrap: package-lock.json is missing: take it from the repository again\n")
  })

  it("fails by name when npm leaves the pinned Node out", async () => {
    await writeFile(join(root, "no-node"), "")
    const failed = await finish(start())
    assert.equal(failed.code, 1)
    assert.match(failed.stderr, /npm ci left out the Node pinned for linux-/)
  })

  it("fails by name when the Node found is too old, however often it is asked", async () => {
    await writeFile(join(root, "old-node"), "")
    for (let attempt = 0; attempt < 2; attempt++) {
      const failed = await finish(start())
      assert.equal(failed.code, 1)
      assert.match(failed.stderr, /found Node 20\.20\.2, which is older than 22\.18/)
    }
  })

  it("lets one of two processes install, and the other wait for it", async () => {
    await writeFile(join(root, "wait"), "")
    const both = [start(), start()]
    // Whichever says that it waits has found the other one installing.
    await Promise.race(both.map((child) => says(child, "waiting for another process")))
    await writeFile(join(root, "go"), "")
    const ends = await Promise.all(both.map(finish))
    assert.deepEqual(ends.map(({ code }) => code), [0, 0])
    assert.equal((await npmCalls()).length, 1)
    assert.deepEqual(await leftovers(), [])
  })

  it("does not wait for a process that died while it installed", async () => {
    const { pid } = spawnSync(process.execPath, ["--eval", ""])
    await writeFile(join(root, ".bootstrap-lock"), `${pid} ${hostname()} 1\n`)
    assert.equal((await finish(start())).code, 0)
    assert.deepEqual(await leftovers(), [])
  })

  it("ends npm when it is told to stop, and leaves nothing that the next start trips over", async () => {
    await writeFile(join(root, "wait"), "")
    const child = start()
    await says(child, "installing")
    while ((await npmCalls()).length === 0) await new Promise((resolve) => { setImmediate(resolve) })
    child.kill("SIGTERM")
    const ended = await finish(child)
    assert.equal(ended.code, 1)
    assert.match(ended.stderr, /interrupted/)
    assert.deepEqual(await leftovers(), [])
  })

  const outputs = new WeakMap<Child, { stdout: string; stderr: string; ended: Promise<unknown> }>()

  function start(): Child {
    const child = spawn(process.execPath, [join(root, "scripts", "bootstrap.mjs")], {
      cwd: tmpdir(),
      env: { PATH: "/nowhere", npm_execpath: join(root, "npm-cli.js"), npm_node_execpath: process.execPath },
      stdio: ["ignore", "pipe", "pipe"],
    })
    const output = { stdout: "", stderr: "", ended: once(child, "close") }
    child.stdout.setEncoding("utf8").on("data", (text: string) => { output.stdout += text })
    child.stderr.setEncoding("utf8").on("data", (text: string) => { output.stderr += text })
    outputs.set(child, output)
    return child
  }

  async function finish(child: Child): Promise<Ended> {
    const output = outputs.get(child)
    await output?.ended
    return { code: child.exitCode, stdout: output?.stdout ?? "", stderr: output?.stderr ?? "" }
  }

  async function says(child: Child, words: string): Promise<void> {
    while (!outputs.get(child)?.stderr.includes(words)) await once(child.stderr, "data")
  }

  function lockWithout(path: string): string {
    return JSON.stringify({ packages: { ...LOCK.packages, [path]: undefined } })
  }

  async function writeLock(lock: object): Promise<void> {
    await writeFile(join(root, "package-lock.json"), JSON.stringify(lock))
  }

  async function npmCalls(): Promise<string[]> {
    const calls = await readFile(join(root, "calls"), "utf8").catch(() => "")
    return calls.split("\n").filter((line) => line !== "")
  }

  async function leftovers(): Promise<string[]> {
    return (await readdir(root)).filter((name) => name.startsWith(".bootstrap-lock"))
  }
})
