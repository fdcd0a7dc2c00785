import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { chmod, link, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, unlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { backup, listArchives, restore } from "../../../src/worker/archive/repository.ts"
import { START_MS, FakeClock } from "../../support/fake-clock.ts"
import { requirePlatform } from "../../support/requirements.ts"
import { snapshotTree } from "./tree-snapshot.ts"

const NEVER = new AbortController().signal
const EKEY_TEXT = Buffer.from(randomBytes(32).toString("base64url"))

describe("a repository of archives", () => {
  let folder: string
  let source: string
  let repository: string
  let target: string
  let clock: FakeClock

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-test-"))
    source = join(folder, "source")
    repository = join(folder, "repository")
    target = join(folder, "target")
    clock = new FakeClock()
    await mkdir(source)
    await writeFile(join(source, "file"), "content")
  })
  afterEach(async () => { await rm(folder, { recursive: true }) })

  function back(signal = NEVER): ReturnType<typeof backup> {
    return backup({ repository, source, ekeyText: EKEY_TEXT, clock, signal })
  }

  function bring(options: { archive?: string; ekeyText?: Buffer; signal?: AbortSignal } = {}): ReturnType<typeof restore> {
    return restore({ repository, target, ekeyText: EKEY_TEXT, keepOwners: false, signal: NEVER, ...options })
  }

  /** That a failed restore has left nothing: no target, nothing half-done beside it. */
  async function assertNothingRestored(): Promise<void> {
    assert.deepEqual((await readdir(folder)).sort(), ["repository", "source"])
  }

  it("brings a tree back byte by byte, with folders, links, modes and times", async function () {
    requirePlatform(this, ["linux", "darwin"], "elsewhere such names and modes don't exist")
    await mkdir(join(source, "empty"), { mode: 0o750 })
    await mkdir(join(source, "deep/er/still"), { recursive: true })
    await writeFile(join(source, "deep/er/still/empty file"), "")
    await writeFile(join(source, "deep/big"), randomBytes(1_000_000))
    await writeFile(join(source, " space and\nline end\t"), "1")
    await writeFile(join(source, "ü\nx=€ 𝄞"), "2")
    await writeFile(join(source, "n".repeat(255)), "3")
    await writeFile(join(source, "-rf"), "4", { mode: 0o400 })
    await writeFile(join(source, "\\back"), "5")
    await symlink("deep/big", join(source, "link"))
    await symlink("/nonexistent/é", join(source, "dangling"))
    await symlink("../..", join(source, "deep/up"))
    await link(join(source, "deep/big"), join(source, "twin"))
    await chmod(join(source, "file"), 0o4711)
    await chmod(join(source, "deep/er/still"), 0o555)
    await utimes(join(source, "deep"), new Date(981_173_106_789), new Date(981_173_106_789))
    await utimes(join(source, "file"), new Date(-86_400_000), new Date(-86_400_000))
    await utimes(join(source, "empty"), 0, 0)
    const before = await snapshotTree(source)

    const made = await back()
    assert.deepEqual([made.files, made.bytes, made.problemCount], [9, 1_000_012, 0])
    const brought = await bring()
    assert.deepEqual(brought, { files: 9, bytes: 1_000_012, archive: made.archive })
    assert.deepEqual(await snapshotTree(target), before)
    await chmod(join(source, "deep/er/still"), 0o755)
    await chmod(join(target, "deep/er/still"), 0o755)
  })

  it("brings 32 MB back", async function () {
    this.timeout(60_000)
    const content = randomBytes(32 * 1024 * 1024 + 7)
    await writeFile(join(source, "big"), content)
    await back()
    await bring()
    assert.equal(Buffer.compare(await readFile(join(target, "big")), content), 0)
  })

  it("names archives by time, keeps each whole, and lists them oldest first", async () => {
    const first = (await back()).archive
    await writeFile(join(source, "file"), "changed")
    await clock.tick(1_000)
    const second = (await back()).archive
    assert.match(first, /^20260101T000000000Z-[0-9a-f]{8}\.tar\.age$/)
    assert.match(second, /^20260101T000001000Z-[0-9a-f]{8}\.tar\.age$/)
    assert.deepEqual((await listArchives(repository)).map(({ name }) => name), [first, second])
    await bring({ archive: first })
    assert.equal(await readFile(join(target, "file"), "utf8"), "content")
  })

  it("takes the newest as the latest, also when the clock has gone back", async () => {
    await back()
    clock.jump(-86_400_000)
    await writeFile(join(source, "file"), "newer")
    const { archive } = await back()
    assert.match(archive, /^20260101T000000001Z-/)
    assert.equal((await bring()).archive, archive)
    assert.equal(await readFile(join(target, "file"), "utf8"), "newer")
  })

  it("lets nobody but its owner read archives", async function () {
    requirePlatform(this, ["linux", "darwin"], "elsewhere modes mean nothing")
    const { archive } = await back()
    assert.equal((await stat(join(repository, archive))).mode & 0o077, 0)
    assert.equal((await stat(repository)).mode & 0o077, 0)
  })

  it("has neither names nor contents of the source in the clear", async () => {
    await writeFile(join(source, "remarkable-name"), "remarkable content")
    const { archive } = await back()
    assert.equal((await readFile(join(repository, archive))).includes("remarkable"), false)
  })

  it("leaves itself out when it is within the source", async () => {
    repository = join(source, "repository")
    await back()
    await clock.tick(1)
    const { files } = await back()
    assert.equal(files, 1)
    await bring()
    assert.deepEqual(await readdir(target), ["file"])
  })

  it("follows a source that is a symlink to a folder", async () => {
    await symlink(source, join(folder, "link"))
    await backup({ repository, source: join(folder, "link"), ekeyText: EKEY_TEXT, clock, signal: NEVER })
    await bring()
    assert.deepEqual(await readdir(target), ["file"])
  })

  for (const name of ["file", "nothing"]) {
    it(`refuses a source that is no folder (${name}), and makes no repository`, async () => {
      const failing = backup({ repository, source: join(source, name), ekeyText: EKEY_TEXT, clock, signal: NEVER })
      await assert.rejects(failing, { code: "ERR_FILE" })
      assert.deepEqual(await readdir(folder), ["source"])
    })
  }

  it("leaves nothing behind when a backup is aborted", async () => {
    const abort = new AbortController()
    const reason = new Error("enough")
    await writeFile(join(source, "big"), randomBytes(8_000_000))
    const running = back(abort.signal)
    // Once its partial archive is there it is in the middle.
    while ((await readdir(repository).catch(() => [])).length === 0) await Promise.resolve()
    abort.abort(reason)
    await assert.rejects(running, reason)
    assert.deepEqual(await readdir(repository), [])
  })

  it("is not taken in by partial archives, and clears away those of processes that died", async () => {
    const { archive } = await back()
    const dead = `.20250101T000000000Z-00000000.tar.age.partial`
    const alive = `.20990101T000000000Z-00000000.tar.age.partial`
    await writeFile(join(repository, dead), "half")
    await writeFile(join(repository, alive), "half")
    await utimes(join(repository, dead), new Date(START_MS - 86_400_001), new Date(START_MS - 86_400_001))
    await utimes(join(repository, alive), new Date(START_MS - 86_400_000), new Date(START_MS - 86_400_000))
    assert.deepEqual((await listArchives(repository)).map(({ name }) => name), [archive])
    const next = (await back()).archive
    assert.deepEqual((await readdir(repository)).sort(), [alive, archive, next].sort())
  })

  describe("restored", () => {
    let archive: string
    beforeEach(async () => { archive = (await back()).archive })

    it("takes an empty folder's place", async () => {
      await mkdir(target)
      await bring()
      assert.deepEqual(await snapshotTree(target), await snapshotTree(source))
    })

    it("makes the folders above the target", async () => {
      target = join(folder, "a/b/c")
      await bring()
      assert.deepEqual(await readdir(target), ["file"])
    })

    it("leaves a target that holds something as it is", async () => {
      await mkdir(target)
      await writeFile(join(target, "mine"), "mine")
      await assert.rejects(bring(), { code: "ERR_FILE" })
      assert.deepEqual(await readdir(target), ["mine"])
      assert.deepEqual((await readdir(folder)).sort(), ["repository", "source", "target"])
    })

    it("is refused with another ekey", async () => {
      await assert.rejects(bring({ ekeyText: Buffer.from(randomBytes(32).toString("base64url")) }), { code: "ERR_ARCHIVE" })
      await assertNothingRestored()
    })

    for (const name of ["20260101T000000000Z-00000000.tar.age", "../source/file", "file", ""]) {
      it(`is refused by a name that is not in it: ${JSON.stringify(name)}`, async () => {
        await assert.rejects(bring({ archive: name }), { code: "ERR_ARCHIVE" })
        await assertNothingRestored()
      })
    }

    it("is refused when there is no archive at all", async () => {
      await unlink(join(repository, archive))
      await assert.rejects(bring(), { code: "ERR_ARCHIVE" })
      await assertNothingRestored()
    })

    it("is refused when there is no repository", async () => {
      await rm(repository, { recursive: true })
      await assert.rejects(bring(), { code: "ERR_ARCHIVE" })
      assert.deepEqual(await readdir(folder), ["source"])
    })

    it("is refused when it is cut anywhere, and leaves no half of a tree", async () => {
      await writeFile(join(source, "big"), randomBytes(300_000))
      await clock.tick(1)
      archive = (await back()).archive
      const whole = await readFile(join(repository, archive))
      const chunk = 65_536 + 16
      for (const length of [0, 1, 200, 1_000, chunk, 2 * chunk, 3 * chunk, whole.length - chunk, whole.length - 1]) {
        await writeFile(join(repository, archive), whole.subarray(0, length))
        await assert.rejects(bring(), { code: "ERR_ARCHIVE" }, String(length))
        await assertNothingRestored()
      }
    })

    it("is refused when a bit is changed anywhere, and leaves no half of a tree", async () => {
      const whole = await readFile(join(repository, archive))
      for (let at = 0; at < whole.length; at += 97) {
        const changed = Buffer.from(whole)
        changed[at] = (changed[at] ?? 0) ^ 0x80
        await writeFile(join(repository, archive), changed)
        await assert.rejects(bring(), { code: "ERR_ARCHIVE" }, String(at))
        await assertNothingRestored()
      }
    })

    it("leaves nothing behind when it is aborted", async () => {
      const reason = new Error("enough")
      await assert.rejects(bring({ signal: AbortSignal.abort(reason) }), reason)
      await assertNothingRestored()
    })
  })
})
