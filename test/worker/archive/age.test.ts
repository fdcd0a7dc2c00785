import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate as nextTurn } from "node:timers/promises"
import { Decrypter, Encrypter } from "age-encryption"
import { decrypt, encrypt } from "../../../src/worker/archive/age.ts"
import { requireProgram } from "../../support/requirements.ts"

const EKEY_TEXT = Buffer.from(randomBytes(32).toString("base64url"))

function chunksOf(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  return ReadableStream.from((function* (): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  })())
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function seal(plain: Uint8Array): Promise<Buffer> {
  return collect(await encrypt(chunksOf(plain, 10_000), EKEY_TEXT))
}

async function open(sealed: Uint8Array, text: Uint8Array = EKEY_TEXT): Promise<Buffer> {
  return collect(decrypt(chunksOf(sealed, 1_000), text))
}

describe("an age file with an ekey as its passphrase", () => {
  for (const length of [0, 1, 65_535, 65_536, 65_537, 200_000]) {
    it(`comes back as it was: ${String(length)} bytes`, async () => {
      const plain = randomBytes(length)
      assert.deepEqual(await open(await seal(plain)), plain)
    })
  }

  it("is opened by the age library without our adapter", async () => {
    const age = new Decrypter()
    age.addPassphrase(EKEY_TEXT.toString())
    assert.equal(await age.decrypt(await seal(Buffer.from("hello")), "text"), "hello")
  })

  it("is opened by the age program", async function () {
    requireProgram(this, "age", "it shows that archives are standard age files")
    requireProgram(this, "script", "age asks for passphrases at a terminal only")
    const folder = await mkdtemp(join(tmpdir(), "ekey-test-"))
    try {
      await writeFile(join(folder, "sealed"), await seal(Buffer.from("hello")))
      const child = spawn("script", ["-qefc", "age --decrypt --output opened sealed", "/dev/null"], { cwd: folder })
      const ended = new Promise<number | null>((resolve) => { child.once("close", resolve) })
      // The answer comes after the question: age throws away what was typed before.
      child.stdout.on("data", (chunk: Buffer) => { if (chunk.includes("passphrase")) child.stdin.write(`${EKEY_TEXT.toString()}\n`) })
      assert.equal(await ended, 0)
      assert.equal(await readFile(join(folder, "opened"), "utf8"), "hello")
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it("is refused with another ekey", async () => {
    const other = Buffer.from(randomBytes(32).toString("base64url"))
    await assert.rejects(open(await seal(Buffer.from("hello")), other), { code: "ERR_ARCHIVE" })
  })

  it("is refused when it is cut, at every length", async () => {
    const sealed = await seal(Buffer.from("hello"))
    for (let length = 0; length < sealed.length; length++) {
      await assert.rejects(open(sealed.subarray(0, length)), { code: "ERR_ARCHIVE" }, String(length))
    }
  })

  it("is refused when whole chunks are missing at its end", async () => {
    const sealed = await seal(randomBytes(3 * 65_536))
    const lastChunk = 65_536 + 16
    await assert.rejects(open(sealed.subarray(0, -lastChunk)), { code: "ERR_ARCHIVE" })
  })

  it("is refused when any byte is changed", async () => {
    const sealed = await seal(Buffer.from("hello"))
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ 1
      await assert.rejects(open(changed), { code: "ERR_ARCHIVE" }, String(at))
    }
  })

  it("is refused when something is added to it", async () => {
    await assert.rejects(open(Buffer.concat([await seal(Buffer.from("hello")), Buffer.alloc(1)])), { code: "ERR_ARCHIVE" })
  })

  it("is refused, before anything is computed, when it asks for more work than we ever write", async () => {
    const age = new Encrypter()
    age.setPassphrase(EKEY_TEXT.toString())
    age.setScryptWorkFactor(11)
    await assert.rejects(open(await age.encrypt("hello")), { code: "ERR_ARCHIVE" })
  })

  it("is refused without reading on when its header has no end", async () => {
    let pulled = 0
    const endless = (async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        await nextTurn()
        pulled += 1_000
        yield Buffer.alloc(1_000, "A")
      }
    })()
    await assert.rejects(collect(decrypt(endless, EKEY_TEXT)), { code: "ERR_ARCHIVE" })
    assert.ok(pulled < 100_000, String(pulled))
  })

  describe("in memory", () => {
    const PART = 64 * 1024
    /** What all stages together may hold: a few chunks each. */
    const BOUND = 2 * 1024 * 1024
    let pulled: number

    async function* source(total: number, part: Uint8Array): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < total; at += part.length) {
        await nextTurn()
        pulled += part.length
        yield Buffer.from(part)
      }
    }

    /** Reads one chunk, and lets everything before it run as far as it wants. */
    async function readOne(stream: AsyncIterable<Uint8Array>): Promise<void> {
      const iterator = stream[Symbol.asyncIterator]()
      await iterator.next()
      for (let turn = 0; turn < 2_000; turn++) await nextTurn()
      await iterator.return?.()
    }

    beforeEach(() => { pulled = 0 })

    it("is not read faster than it is written", async () => {
      await readOne(await encrypt(source(32 * 1024 * 1024, Buffer.alloc(PART)), EKEY_TEXT))
      assert.ok(pulled > 0 && pulled < BOUND, String(pulled))
    })

    it("is not opened faster than it is unpacked", async () => {
      const sealed = await seal(Buffer.alloc(8 * 1024 * 1024))
      const parts = (async function* (): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < sealed.length; at += PART) {
          await nextTurn()
          pulled += PART
          yield sealed.subarray(at, at + PART)
        }
      })()
      await readOne(decrypt(parts, EKEY_TEXT))
      assert.ok(pulled > 0 && pulled < BOUND, String(pulled))
    })
  })
})
