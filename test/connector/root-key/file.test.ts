import assert from "node:assert/strict"
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Secret } from "../../../src/base/secret.ts"
import { FileRootKeySource } from "../../../src/connector/root-key/file.ts"

async function bytesOf(secret: Secret | null): Promise<Buffer | null> {
  return secret && await secret.consume((bytes) => Buffer.from(bytes))
}

describe("root key in a file", () => {
  let folder: string
  let path: string
  let source: FileRootKeySource
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-root-key-"))
    path = join(folder, "keys", "root-key")
    source = new FileRootKeySource(path)
  })
  afterEach(async () => { await rm(folder, { recursive: true, force: true }) })

  async function write(text: string | Buffer): Promise<void> {
    await rm(path, { force: true })
    await writeFile(path, text, { mode: 0o600 })
  }

  it("is absent until it is made", async () => {
    assert.equal(await source.load(), null)
  })

  it("loads as it was made, every time", async () => {
    const made = await bytesOf(await source.create())
    assert.equal(made?.length, 32)
    assert.deepEqual(await bytesOf(await source.load()), made)
    assert.deepEqual(await bytesOf(await new FileRootKeySource(path).load()), made)
  })

  it("is one line of a documented form, and loads from it", async () => {
    const made = await bytesOf(await source.create())
    assert.equal(await readFile(path, "utf8"), `ekey-root-key-v1:${made?.toString("hex") ?? ""}\n`)
    await write(`ekey-root-key-v1:${"00ff10a9".repeat(8)}\n`)
    assert.deepEqual(await bytesOf(await source.load()), Buffer.from("00ff10a9".repeat(8), "hex"))
  })

  it("is random", async () => {
    const other = new FileRootKeySource(join(folder, "other"))
    assert.notDeepEqual(await bytesOf(await source.create()), await bytesOf(await other.create()))
  })

  it("is never overwritten", async () => {
    const made = await bytesOf(await source.create())
    await assert.rejects(source.create(), { code: "ERR_FILE" })
    assert.deepEqual(await bytesOf(await source.load()), made)
  })

  it("is made once by many at once, and nothing else is left behind", async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, async () => bytesOf(await source.create())))
    const made = outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value] : [])
    assert.equal(made.length, 1)
    assert.deepEqual(await bytesOf(await source.load()), made[0])
    assert.deepEqual(await readdir(join(folder, "keys")), ["root-key"])
  })

  it("is for its owner alone, and refused where others may read it", async function () {
    if (process.platform === "win32") this.skip()
    await source.create()
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.equal((await stat(join(folder, "keys"))).mode & 0o777, 0o700)
    for (const mode of [0o640, 0o604, 0o660]) {
      await chmod(path, mode)
      await assert.rejects(source.load(), { code: "ERR_FILE", message: /chmod 600 / })
    }
    await chmod(path, 0o600)
    assert.notEqual(await source.load(), null)
  })

  it("says ERR_FILE where it can't be read or made", async () => {
    await writeFile(join(folder, "keys"), "a file")
    await assert.rejects(source.create(), { code: "ERR_FILE" })
    await assert.rejects(new FileRootKeySource(folder).load(), { code: "ERR_FILE" })
  })

  const GOOD = `ekey-root-key-v1:${"0123456789abcdef".repeat(4)}\n`
  const DAMAGED: readonly (readonly [string, string])[] = [
    ["another version", GOOD.replace("v1", "v2")],
    ["no prefix", GOOD.slice(GOOD.indexOf(":") + 1)],
    ["a capital digit", GOOD.replace("a", "A")],
    ["a letter that is no digit", GOOD.replace("f\n", "g\n")],
    ["a blank for the first digit", GOOD.replace(":0", ": ")],
    ["a carriage return", GOOD.replace("\n", "\r")],
    ["a second line", `${GOOD}\n`],
    ["a digit too many", GOOD.replace("\n", "0\n")],
  ]
  for (const [what, text] of DAMAGED) {
    it(`is refused with ${what}`, async () => {
      await source.create()
      await write(GOOD)
      assert.notEqual(await source.load(), null)
      await write(text)
      await assert.rejects(source.load(), { code: "ERR_FILE" })
    })
  }

  it("is refused when truncated to any length, the empty file included", async () => {
    await source.create()
    for (let length = 0; length < GOOD.length; length++) {
      await write(GOOD.slice(0, length))
      await assert.rejects(source.load(), { code: "ERR_FILE" }, `${length} bytes`)
    }
  })
})
