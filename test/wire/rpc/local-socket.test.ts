import assert from "node:assert/strict"
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { z } from "zod"
import { EkeyError } from "../../../src/base/errors.ts"
import { connectLocal, serveLocal } from "../../../src/wire/rpc/local-socket.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { requirePlatform } from "../../support/requirements.ts"

const METHODS = { echo: { params: z.strictObject({ text: z.string(), deadlineMs: z.int() }), result: z.strictObject({ text: z.string() }) } } as const

describe("A local socket", () => {
  let folder: string
  let path: string
  const clock = new FakeClock()
  const log = new EventLog()
  const opened: { close(): Promise<void> }[] = []

  before(function () { requirePlatform(this, ["linux", "darwin"], "Unix sockets are files") })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-local-"))
    path = join(folder, "a.sock")
  })
  afterEach(async () => {
    for (const server of opened.splice(0)) await server.close()
    await rm(folder, { recursive: true })
  })

  async function serve(options: { groupAccess?: boolean; at?: string } = {}): Promise<{ close(): Promise<void> }> {
    const { at = path, ...rest } = options
    const server = await serveLocal({ path: at, methods: METHODS, handlers: { echo: ({ text }) => Promise.resolve({ text }) }, clock, log, ...rest })
    opened.push(server)
    return server
  }
  const dial = (at = path) => connectLocal({ path: at, methods: METHODS, clock, log })

  it("answers whoever may open its file", async () => {
    await serve()
    const peers = await Promise.all([dial(), dial()])
    for (const [index, peer] of peers.entries()) {
      assert.deepEqual(await peer.call("echo", { text: String(index) }, 1_000), { text: String(index) })
      peer.close(1000, "done")
    }
  })

  it("is its owner's alone, or its group's when asked", async () => {
    await serve()
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    await serve({ at: join(folder, "b.sock"), groupAccess: true })
    assert.equal((await stat(join(folder, "b.sock"))).mode & 0o777, 0o660)
  })

  it("leaves the process's umask as it was", async () => {
    const modeOf = async (name: string): Promise<number> => {
      await writeFile(join(folder, name), "", { mode: 0o666 })
      return (await stat(join(folder, name))).mode & 0o777
    }
    const before = await modeOf("before")
    await serve()
    assert.equal(await modeOf("after"), before)
  })

  it("is unreachable while nobody serves it", async () => {
    await assert.rejects(dial(), (error) => error instanceof EkeyError && error.code === "ERR_UNREACHABLE" && error.retryable)
  })

  it("takes the place of one that a dead process left behind", async () => {
    const left = createServer()
    await new Promise<void>((resolve) => left.listen(path, resolve))
    // Closing by handle would remove the file: a killed process does not.
    await rename(path, `${path}.kept`)
    await new Promise<void>((resolve) => { left.close(() => { resolve() }) })
    await rename(`${path}.kept`, path)
    await assert.rejects(dial(), { code: "ERR_UNREACHABLE" })
    await serve()
    const peer = await dial()
    assert.deepEqual(await peer.call("echo", { text: "x" }, 1_000), { text: "x" })
    peer.close(1000, "done")
  })

  it("does not take the place of a living one", async () => {
    await serve()
    await assert.rejects(serveLocal({ path, methods: METHODS, handlers: {}, clock, log }), { code: "ERR_FILE" })
    const peer = await dial()
    assert.deepEqual(await peer.call("echo", { text: "x" }, 1_000), { text: "x" })
    peer.close(1000, "done")
  })

  it("ends its conversations when it closes, and is gone", async () => {
    const server = await serve()
    const peer = await dial()
    await server.close()
    assert.equal((await peer.closed).code, 1001)
    await assert.rejects(dial(), { code: "ERR_UNREACHABLE" })
    assert.deepEqual(await readdir(folder), [])
  })

  it("refuses a path that is longer than the system can bind, by name", async () => {
    const deep = join(folder, "d".repeat(100))
    await mkdir(deep)
    await assert.rejects(serve({ at: join(deep, "a.sock") }), { code: "ERR_CONFIG", message: /too long/ })
    await assert.rejects(dial(join(deep, "a.sock")), { code: "ERR_CONFIG" })
  })

  it("can't be made where there is no folder", async () => {
    await assert.rejects(serve({ at: join(folder, "none", "a.sock") }), { code: "ERR_FILE" })
  })
})
