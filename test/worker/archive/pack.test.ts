import assert from "node:assert/strict"
import { appendFile, mkdir, mkdtemp, rm, truncate, unlink, utimes, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { emptySummary, packFolder } from "../../../src/worker/archive/pack.ts"
import type { PackSummary } from "../../../src/worker/archive/pack.ts"
import { ByteReader } from "../../../src/worker/archive/byte-reader.ts"
import { paddingAfter, readEntry } from "../../../src/worker/archive/tar.ts"
import { requirePlatform } from "../../support/requirements.ts"

const NEVER = new AbortController().signal
/** More than one chunk, so that a file can change between two. */
const BIG = 300 * 1024

describe("packing a folder that changes meanwhile", () => {
  let source: string
  let summary: PackSummary

  beforeEach(async () => {
    source = await mkdtemp(join(tmpdir(), "ekey-test-"))
    summary = emptySummary()
  })
  afterEach(async () => { await rm(source, { recursive: true }) })

  /** Packs, and calls `meddle` once, after so many chunks: 1 is the root folder, 2 the first file's header. */
  async function packAnd(chunks: number, meddle: () => Promise<unknown>): Promise<Buffer> {
    const out: Buffer[] = []
    for await (const chunk of packFolder(source, summary, { signal: NEVER })) {
      out.push(chunk)
      if (out.length === chunks) await meddle()
    }
    return Buffer.concat(out)
  }

  /** Names and contents in an archive; reading them to the end shows that it is well-formed. */
  async function contents(archive: Buffer): Promise<Map<string, Buffer>> {
    const reader = new ByteReader(ReadableStream.from([archive]))
    const found = new Map<string, Buffer>()
    for (let entry = await readEntry(reader); entry; entry = await readEntry(reader)) {
      const content = await reader.exactly(entry.size)
      assert.ok(content)
      await reader.exactly(paddingAfter(entry.size).length)
      found.set(entry.path, content)
    }
    return found
  }

  it("names a file that vanished before it was read, and keeps the others", async () => {
    await writeFile(join(source, "a"), "a")
    await writeFile(join(source, "b"), "b")
    const archive = await packAnd(2, () => unlink(join(source, "b")))
    assert.deepEqual([...(await contents(archive)).keys()], ["", "a"])
    assert.deepEqual(summary.problems, [{ path: "b", reason: "vanished" }])
    assert.equal(summary.files, 1)
  })

  it("names a folder that vanished before it was read", async () => {
    await mkdir(join(source, "a"))
    await mkdir(join(source, "b"))
    const archive = await packAnd(2, () => rm(join(source, "b"), { recursive: true }))
    assert.deepEqual([...(await contents(archive)).keys()], ["", "a"])
    assert.deepEqual(summary.problems, [{ path: "b", reason: "vanished" }])
  })

  it("names a file that grew, and keeps as much of it as there was at first", async () => {
    await writeFile(join(source, "a"), Buffer.alloc(BIG, 1))
    const archive = await packAnd(3, () => appendFile(join(source, "a"), "more"))
    assert.deepEqual((await contents(archive)).get("a"), Buffer.alloc(BIG, 1))
    assert.deepEqual(summary.problems, [{ path: "a", reason: "changed" }])
  })

  it("names a file that shrank, once, and fills it with zeros", async () => {
    await writeFile(join(source, "a"), Buffer.alloc(BIG, 1))
    await writeFile(join(source, "b"), "b")
    const archive = await packAnd(3, () => truncate(join(source, "a"), 200_000))
    const found = await contents(archive)
    assert.deepEqual(found.get("a"), Buffer.concat([Buffer.alloc(200_000, 1), Buffer.alloc(BIG - 200_000)]))
    assert.equal(found.get("b")?.toString(), "b")
    assert.deepEqual(summary.problems, [{ path: "a", reason: "changed" }])
  })

  it("names a file that was written to without changing its size", async () => {
    await writeFile(join(source, "a"), Buffer.alloc(BIG, 1))
    await utimes(join(source, "a"), 1, 1)
    await packAnd(3, () => writeFile(join(source, "a"), Buffer.alloc(BIG, 2), { flag: "r+" }))
    assert.deepEqual(summary.problems, [{ path: "a", reason: "changed" }])
  })

  it("names what has a name that is not UTF-8, in words that can be printed", async function () {
    requirePlatform(this, ["linux"], "elsewhere names are Unicode")
    await writeFile(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0x61, 0xff])]), "x")
    const archive = await packAnd(1, () => Promise.resolve())
    assert.deepEqual([...(await contents(archive)).keys()], [""])
    assert.deepEqual(summary.problems, [{ path: "a\ufffd", reason: "name" }])
  })

  it("leaves sockets out, and counts them", async function () {
    requirePlatform(this, ["linux", "darwin"], "elsewhere sockets have no path")
    const server = createServer()
    await new Promise<void>((resolve) => { server.listen(join(source, "socket"), resolve) })
    try {
      const archive = await packAnd(1, () => Promise.resolve())
      assert.deepEqual([...(await contents(archive)).keys()], [""])
      assert.deepEqual([summary.special, summary.problemCount], [1, 0])
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })

  it("names the first hundred problems, and counts them all", async () => {
    for (let i = 0; i < 120; i++) await writeFile(join(source, `f${String(i)}`), "")
    await packAnd(2, async () => {
      await rm(source, { recursive: true })
      await mkdir(source)
    })
    assert.equal(summary.problemCount, 119)
    assert.equal(summary.problems.length, 100)
  })

  it("stops when it is told to, with the reason that was given", async () => {
    await writeFile(join(source, "a"), Buffer.alloc(BIG))
    const abort = new AbortController()
    const reason = new Error("enough")
    const packing = packFolder(source, summary, { signal: abort.signal })
    await assert.rejects(async () => {
      let chunks = 0
      for await (const chunk of packing) {
        assert.ok(chunk.length <= 256 * 1024)
        if (++chunks === 3) abort.abort(reason)
        assert.ok(chunks <= 3)
      }
    }, reason)
  })
})
