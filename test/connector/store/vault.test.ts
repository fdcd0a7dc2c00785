import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { openVault } from "../../../src/connector/store/vault.ts"
import { RecordSealer } from "../../../src/crypto/sealed-record.ts"
import { describeEkeyStore } from "./contract.ts"

const WRITER = join(import.meta.dirname, "vault-writer.ts")
const FIRST = { user: "user-1", version: 1 }

async function makeFolder(): Promise<string> {
  return join(await mkdtemp(join(tmpdir(), "ekey-vault-")), "vault")
}

async function removeFolder(folder: string): Promise<void> {
  await rm(join(folder, ".."), { recursive: true, force: true })
}

describeEkeyStore("vault", async () => {
  const folder = await makeFolder()
  return {
    open: async (tenant) => openVault({ folder, tenant }),
    remove: async () => removeFolder(folder),
  }
})

describe("vault", () => {
  let folder: string
  beforeEach(async () => { folder = await makeFolder() })
  afterEach(async () => { await removeFolder(folder) })

  const dataFile = (): string => join(folder, "ekeys.mdb")

  async function make(): Promise<void> {
    const store = await openVault({ folder, tenant: "acme" })
    await store.create(FIRST, Buffer.alloc(93, 1))
    await store.close()
  }

  /** Overwrites a text in the data file by another of the same length, wherever it occurs. */
  async function patch(from: string, to: string): Promise<void> {
    assert.equal(from.length, to.length)
    const bytes = await readFile(dataFile())
    let patched = 0
    for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + 1)) {
      bytes.write(to, at)
      patched++
    }
    assert.ok(patched > 0)
    await writeFile(dataFile(), bytes)
  }

  describe("identity", () => {
    it("refuses a store of a newer format", async () => {
      await make()
      await patch('{"format":1', '{"format":2')
      await assert.rejects(openVault({ folder, tenant: "acme" }), { code: "ERR_STORE_VERSION" })
    })

    it("refuses an identity that it does not understand", async () => {
      await make()
      await patch('{"format":1,"tenant"', '{"format":1,"tenent"')
      await assert.rejects(openVault({ folder, tenant: "acme" }), { code: "ERR_STORE_IDENTITY" })
    })

    const DAMAGES: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
      ["another kind of file", (bytes) => randomBytes(bytes.length)],
      ["a first page of zeros", (bytes) => bytes.fill(0, 0, 4096)],
      ["a second page of zeros", (bytes) => bytes.fill(0, bytes.readUInt32LE(0x30), 2 * bytes.readUInt32LE(0x30))],
      ["a few bytes", () => Buffer.from("hello")],
      ["the first page alone", (bytes) => bytes.subarray(0, bytes.readUInt32LE(0x30))],
    ]
    for (const [what, damage] of DAMAGES) {
      it(`refuses ${what}, and leaves it as it is`, async () => {
        await make()
        const damaged = damage(await readFile(dataFile()))
        await writeFile(dataFile(), damaged)
        await assert.rejects(openVault({ folder, tenant: "acme" }), { code: "ERR_STORE_DAMAGED" })
        assert.deepEqual(await readFile(dataFile()), damaged)
      })
    }

    it("opens a file that has half a written page behind its last commit", async () => {
      await make()
      await writeFile(dataFile(), Buffer.concat([await readFile(dataFile()), randomBytes(1000)]))
      const store = await openVault({ folder, tenant: "acme" })
      assert.deepEqual((await store.read(FIRST))?.record, Buffer.alloc(93, 1))
      await store.create({ user: "user-2", version: 1 }, Buffer.alloc(93, 2))
      await store.close()
    })

    it("lets a second opening read along", async () => {
      await make()
      const one = await openVault({ folder, tenant: "acme" })
      const two = await openVault({ folder, tenant: "acme" })
      assert.equal(one.storeId, two.storeId)
      assert.equal(await two.count(), 1)
      await one.close()
      await two.close()
    })
  })

  describe("permissions", () => {
    before(function () { if (process.platform === "win32") this.skip() })

    it("makes folder and files for its owner alone", async () => {
      await make()
      assert.equal((await stat(folder)).mode & 0o777, 0o700)
      const names = (await readdir(folder)).sort()
      assert.deepEqual(names, ["ekeys.mdb", "ekeys.mdb-lock"])
      for (const name of names) assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600)
    })

    for (const mode of [0o750, 0o705, 0o711]) {
      it(`refuses a folder of mode ${mode.toString(8)} and says the mend`, async () => {
        await mkdir(folder)
        await chmod(folder, mode)
        await assert.rejects(openVault({ folder, tenant: "acme" }), { code: "ERR_FILE", message: /chmod 700 / })
        assert.deepEqual(await readdir(folder), [])
      })
    }

    it("refuses a data file that others may read, and takes it again once that is mended", async () => {
      await make()
      await chmod(dataFile(), 0o640)
      await assert.rejects(openVault({ folder, tenant: "acme" }), { code: "ERR_FILE", message: /chmod 600 / })
      await chmod(dataFile(), 0o600)
      const store = await openVault({ folder, tenant: "acme" })
      assert.equal(await store.count(), 1)
      await store.close()
    })

    it("says ERR_STORE where no folder can be made", async () => {
      await mkdir(join(folder, ".."), { recursive: true })
      await writeFile(folder, "a file")
      await assert.rejects(openVault({ folder: join(folder, "vault"), tenant: "acme" }), { code: "ERR_STORE" })
    })
  })

  describe("durability", () => {
    it("keeps every acknowledged record, with its outbox entry, over SIGKILL", async function () {
      this.timeout(30_000)
      for (const killAfter of [1, 40, 333]) {
        const acknowledged: string[] = []
        const writer = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", WRITER, folder], { stdio: ["ignore", "pipe", "inherit"] })
        const exited = once(writer, "exit")
        for await (const line of createInterface({ input: writer.stdout })) {
          assert.match(line, /^\+/)
          acknowledged.push(line.slice(1))
          if (acknowledged.length >= killAfter) writer.kill("SIGKILL")
        }
        await exited
        assert.equal(writer.signalCode, "SIGKILL")

        const store = await openVault({ folder, tenant: "acme" })
        for (const user of acknowledged) {
          assert.deepEqual(await store.read({ user, version: 1 }), { version: 1, record: Buffer.alloc(93, user), acknowledged: false })
        }
        const outbox = await store.unacknowledged(1_000_000)
        assert.equal(outbox.length, await store.count())
        assert.ok(acknowledged.length >= killAfter && acknowledged.length <= outbox.length)
        await store.close()
        await rm(folder, { recursive: true })
      }
    })

    it("resolves a create after the disk has it, not before", async () => {
      // lmdb-js keeps a third meta page, half a page into the file, when it syncs after it acknowledges.
      await make()
      const bytes = await readFile(dataFile())
      const pageBytes = bytes.readUInt32LE(0x30)
      assert.ok(pageBytes >= 4096)
      assert.deepEqual(bytes.subarray(pageBytes / 2, pageBytes), Buffer.alloc(pageBytes / 2))
    })

    it("refuses creates by name when the disk takes no more, keeps what it acknowledged, and goes on reading", async function () {
      this.timeout(30_000)
      if (process.platform === "win32") this.skip()
      // A limit on the size of files: the write fails as on a full disk.
      const command = 'ulimit -f 256 && exec "$0" "$@"'
      const writer = spawn("sh", ["-c", command, process.execPath, "--disable-warning=ExperimentalWarning", WRITER, folder], { stdio: ["ignore", "pipe", "ignore"] })
      const exited = once(writer, "exit")
      const lines: string[] = []
      for await (const line of createInterface({ input: writer.stdout })) lines.push(line)
      await exited
      const acknowledged = lines.flatMap((line) => line.startsWith("+") ? [line.slice(1)] : [])
      const refused = lines.filter((line) => line.startsWith("!"))
      assert.ok(acknowledged.length > 0)
      assert.ok(refused.length > 0)
      for (const line of refused) assert.match(line, /^!ERR_STORE (?!Commit failed)./)
      const store = await openVault({ folder, tenant: "acme" })
      assert.equal(await store.count(), acknowledged.length)
      for (const user of acknowledged) assert.deepEqual((await store.read({ user, version: 1 }))?.record, Buffer.alloc(93, user))
      await store.close()
      assert.equal(lines.at(-1), `end ${acknowledged.length} 0`)
    })

    it("commits concurrent creates together", async () => {
      const store = await openVault({ folder, tenant: "acme" })
      const before = await commits()
      await Promise.all(Array.from({ length: 2_000 }, (_, i) => store.create({ user: `user-${i}`, version: 1 }, Buffer.alloc(93, i))))
      assert.ok(await commits() - before <= 10)
      await store.close()
    })
  })

  /** The number of the last transaction, from LMDB's two meta pages. */
  async function commits(): Promise<number> {
    const bytes = await readFile(dataFile())
    return Math.max(...[0, bytes.readUInt32LE(0x30)].map((at) => bytes.readUInt32LE(at + 0x98)))
  }

  it("holds no ekey in the clear", async () => {
    const sealer = new RecordSealer({ rootKey: randomBytes(32), tenant: "acme" })
    const store = await openVault({ folder, tenant: "acme" })
    await store.bindRootKey(sealer.rootKeyId)
    const ekey = randomBytes(32)
    await store.create(FIRST, sealer.seal(FIRST, ekey, 1))
    const stored = await store.read(FIRST)
    await store.close()
    assert.ok(stored)
    assert.deepEqual(sealer.open(FIRST, stored.record), ekey)
    const bytes = await readFile(dataFile())
    assert.ok(bytes.includes(Buffer.from(stored.record)))
    assert.equal(bytes.includes(ekey), false)
  })
})
