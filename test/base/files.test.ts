import assert from "node:assert/strict"
import { chmod, mkdir, mkdtemp, open, readFile, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createFileDurably, isMissing, makePrivateFolder, readFileIfPresent, readPrivateFile, writeFileDurably } from "../../src/base/files.ts"
import { requirePlatform } from "../support/requirements.ts"

const POSIX: readonly NodeJS.Platform[] = ["linux", "darwin"]
const MODES = "file modes are POSIX"

describe("files", () => {
  let folder: string
  let path: string
  let umask: number

  beforeEach(async () => {
    umask = process.umask(0o022)
    folder = await mkdtemp(join(tmpdir(), "files-"))
    path = join(folder, "file")
  })

  afterEach(async () => {
    process.umask(umask)
    await rm(folder, { recursive: true, force: true })
  })

  async function modeOf(name: string): Promise<string> {
    const { mode } = await stat(name)
    return (mode & 0o777).toString(8)
  }

  describe("writeFileDurably", () => {
    it("writes text and bytes, and leaves nothing beside the file", async () => {
      await writeFileDurably(path, "text")
      assert.equal(await readFile(path, "utf8"), "text")
      await writeFileDurably(path, Uint8Array.of(0, 255))
      assert.deepEqual(await readFile(path), Buffer.of(0, 255))
      assert.deepEqual(await readdir(folder), ["file"])
    })

    it("replaces the file in one step: whoever has the old one open reads on in it", async () => {
      await writeFileDurably(path, "the old content")
      const old = await open(path)
      try {
        await writeFileDurably(path, "new")
        assert.equal(await old.readFile("utf8"), "the old content")
      } finally {
        await old.close()
      }
      assert.equal(await readFile(path, "utf8"), "new")
    })

    it("lets only the owner read, also where others could before, unless asked otherwise", async function () {
      requirePlatform(this, POSIX, MODES)
      await writeFile(path, "", { mode: 0o644 })
      await writeFileDurably(path, "secret")
      assert.equal(await modeOf(path), "600")
      await writeFileDurably(path, "certificate", { public: true })
      assert.equal(await modeOf(path), "644")
    })

    it("fails without a trace when the place is taken by a folder", async () => {
      await mkdir(join(path, "inside"), { recursive: true })
      await assert.rejects(writeFileDurably(path, "text"))
      assert.deepEqual(await readdir(folder), ["file"])
    })

    it("fails when the folder is missing", async () => {
      await assert.rejects(writeFileDurably(join(folder, "no", "file"), "text"), isMissing)
    })
  })

  describe("createFileDurably", () => {
    it("makes a file that only its owner can read, and leaves nothing beside it", async function () {
      requirePlatform(this, POSIX, MODES)
      assert.equal(await createFileDurably(path, Buffer.from("first")), true)
      assert.equal(await readFile(path, "utf8"), "first")
      assert.equal(await modeOf(path), "600")
      assert.deepEqual(await readdir(folder), ["file"])
    })

    it("never overwrites", async () => {
      await createFileDurably(path, Buffer.from("first"))
      assert.equal(await createFileDurably(path, Buffer.from("second")), false)
      assert.equal(await readFile(path, "utf8"), "first")
      assert.deepEqual(await readdir(folder), ["file"])
    })

    it("lets exactly one of many at once make the file, with its whole content", async () => {
      const contents = Array.from({ length: 8 }, (_, at) => String(at).repeat(10_000))
      const made = await Promise.all(contents.map((content) => createFileDurably(path, Buffer.from(content))))
      assert.equal(made.filter(Boolean).length, 1)
      assert.equal(await readFile(path, "utf8"), contents[made.indexOf(true)])
      assert.deepEqual(await readdir(folder), ["file"])
    })

    it("fails, and does not call the name taken, when the folder is missing", async () => {
      await assert.rejects(createFileDurably(join(folder, "no", "file"), Buffer.from("x")), isMissing)
    })
  })

  describe("makePrivateFolder", () => {
    it("makes folders on the way that only their owner can enter", async function () {
      requirePlatform(this, POSIX, MODES)
      await makePrivateFolder(join(folder, "a", "b"))
      assert.deepEqual([await modeOf(join(folder, "a")), await modeOf(join(folder, "a", "b"))], ["700", "700"])
    })

    it("leaves a folder as it is that is there already", async function () {
      requirePlatform(this, POSIX, MODES)
      await mkdir(join(folder, "a"), { mode: 0o755 })
      await makePrivateFolder(join(folder, "a"))
      assert.equal(await modeOf(join(folder, "a")), "755")
    })

    it("fails when a file stands in its place", async () => {
      await writeFile(path, "")
      await assert.rejects(makePrivateFolder(path))
    })
  })

  describe("reading", () => {
    const readers = [["readFileIfPresent", readFileIfPresent], ["readPrivateFile", readPrivateFile]] as const
    for (const [name, read] of readers) {
      it(`${name} gives the content, or null if there is no file`, async () => {
        assert.equal(await read(path), null)
        await writeFile(path, "content", { mode: 0o600 })
        assert.equal((await read(path))?.toString(), "content")
      })

      it(`${name} throws for every other fault`, async () => {
        await mkdir(path, { mode: 0o700 })
        await assert.rejects(read(path), { code: "EISDIR" })
      })
    }

    for (const mode of [0o644, 0o640, 0o604, 0o620, 0o601]) {
      it(`readPrivateFile refuses a file of mode ${mode.toString(8)}`, async function () {
        requirePlatform(this, POSIX, MODES)
        await writeFile(path, "secret")
        await chmod(path, mode)
        await assert.rejects(readPrivateFile(path), { code: "ERR_FILE" })
      })
    }

    it("readPrivateFile takes a file that its owner can't write to either", async () => {
      await writeFile(path, "secret", { mode: 0o400 })
      assert.equal((await readPrivateFile(path))?.toString(), "secret")
    })
  })
})
