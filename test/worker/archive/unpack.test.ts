import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Header, Pax } from "tar"
import { TAR_END, encodeEntry, paddingAfter, readEntry } from "../../../src/worker/archive/tar.ts"
import type { TarEntry } from "../../../src/worker/archive/tar.ts"
import { ByteReader } from "../../../src/worker/archive/byte-reader.ts"
import { unpackInto } from "../../../src/worker/archive/unpack.ts"
import { requirePlatform, requireProgram } from "../../support/requirements.ts"

const NEVER = new AbortController().signal
const ROOT = entry({ type: "folder", path: "", mode: 0o755 })

function entry(fields: Partial<TarEntry>): TarEntry {
  return { type: "file", path: "a", target: "", size: 0, mode: 0o644, mtimeMs: 1_000_000_000_000, uid: 0, gid: 0, ...fields }
}

function file(path: string, content: string): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([encodeEntry(entry({ path, size: bytes.length })), bytes, paddingAfter(bytes.length)])
}

function folder(path: string): Buffer {
  return encodeEntry(entry({ type: "folder", path, mode: 0o755 }))
}

function symlink(path: string, target: string): Buffer {
  return encodeEntry(entry({ type: "symlink", path, target }))
}

function hardlink(path: string, target: string): Buffer {
  return encodeEntry(entry({ type: "hardlink", path, target }))
}

/** An archive that says what it likes in its headers. */
function archive(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([encodeEntry(ROOT), ...parts, TAR_END])
}

function stream(bytes: Buffer, size = 700): AsyncIterable<Uint8Array> {
  return ReadableStream.from((function* (): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  })())
}

describe("an entry of a tar archive", () => {
  for (const [name, fields] of [
    ["a plain file", { path: "folder/file", size: 5, mode: 0o4751, uid: 1000, gid: 100 }],
    ["the root folder", { type: "folder", path: "" }],
    ["a folder", { type: "folder", path: "a/b c" }],
    ["a symlink", { type: "symlink", path: "l", target: "../../etc/passwd" }],
    ["an absolute symlink", { type: "symlink", path: "l", target: "/" }],
    ["a symlink that is long, has a line end and ends in a slash", { type: "symlink", path: "l", target: `${"é".repeat(90)}\n/` }],
    ["a hardlink", { type: "hardlink", path: "h", target: "folder/file" }],
    ["a name with a line end", { path: "new\nline" }],
    ["a name with a line end that needs an extended header", { path: "ü\n30 path=evil\n.txt" }],
    ["a name that looks like an extended record", { path: "12 path=a\n" }],
    ["a name of many bytes", { path: "€".repeat(1_300) }],
    ["a deep path", { path: `${"folder/".repeat(30)}file` }],
    ["a path of 99 bytes with its prefix", { path: "x".repeat(97) }],
    ["a path of 100 bytes with its prefix", { path: "x".repeat(98) }],
    ["a deep folder's path", { type: "folder", path: `${"y".repeat(120)}/z` }],
    ["a name that begins with dots", { path: "..a" }],
    ["a name that ends in a backslash", { path: "a\\" }],
    ["a file beyond 8 GiB", { size: 9 * 2 ** 30 }],
    ["great owner numbers", { uid: 3_000_000_000, gid: 2 ** 31 }],
    ["a fraction of a second", { mtimeMs: 1_700_000_000_123 }],
    ["the year 1960", { mtimeMs: -300_000_000_000 }],
    ["the year 2300", { mtimeMs: 10_413_792_000_000 }],
  ] as const) {
    it(`is read as it was written: ${name}`, async () => {
      const written = entry(fields)
      assert.deepEqual(await readEntry(new ByteReader(stream(encodeEntry(written), 100))), written)
    })
  }

  it("is read by the system's tar", async function () {
    requirePlatform(this, ["linux"], "it asks GNU tar")
    requireProgram(this, "tar", "it shows that archives are standard")
    const listed = spawnSync("tar", ["--list", "--quoting-style=escape"], { input: archive(file("ü\nx", "1"), folder("d"), file(`d/${"n".repeat(150)}`, "2"), symlink("l", "é")), env: { ...process.env, LC_ALL: "C" } })
    assert.equal(listed.status, 0, listed.stderr.toString())
    assert.deepEqual(listed.stdout.toString("latin1").trim().split("\n"), ["./", "./\\303\\274\\nx", "./d/", `./d/${"n".repeat(150)}`, "./l"])
  })
})

describe("unpacking a tar archive", () => {
  let folderOfTest: string
  let root: string

  beforeEach(async () => {
    folderOfTest = await mkdtemp(join(tmpdir(), "ekey-test-"))
    root = join(folderOfTest, "root")
    await mkdir(root)
  })
  afterEach(async () => { await rm(folderOfTest, { recursive: true }) })

  function unpack(bytes: Buffer): Promise<{ files: number; bytes: number }> {
    return unpackInto(root, stream(bytes), { keepOwners: false, signal: NEVER })
  }

  it("makes what the archive says, and counts it", async () => {
    const found = await unpack(archive(folder("d"), file("d/f", "content"), symlink("d/l", "f"), hardlink("h", "./d/f")))
    assert.deepEqual(found, { files: 2, bytes: 7 })
    assert.equal(await readFile(join(root, "d/l"), "utf8"), "content")
    assert.equal((await lstat(join(root, "h"))).nlink, 2)
  })

  it("keeps a symlink that leads out of the tree as it is, and writes nothing through it", async () => {
    await unpack(archive(symlink("out", "../outside"), symlink("abs", "/etc/passwd")))
    assert.deepEqual([await readlink(join(root, "out")), await readlink(join(root, "abs"))], ["../outside", "/etc/passwd"])
    assert.deepEqual(await readdir(folderOfTest), ["root"])
  })

  it("refuses an archive that turns out to be altered only after its end mark", async () => {
    const source = (async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(archive(file("f", "x")))
      throw new Error("invalid tag")
    })()
    await assert.rejects(unpackInto(root, source, { keepOwners: false, signal: NEVER }), /invalid tag/)
  })

  describe("refuses", () => {
    /** What the system refuses; everything else is refused for what the archive says. */
    const BY_THE_SYSTEM = new Map([
      ["a file twice", "EEXIST"], ["a file in a symlink's place", "EEXIST"], ["a folder in a file's place", "EEXIST"],
      ["a hardlink to what comes later", "ENOENT"],
    ])

    for (const [name, parts] of [
      ["a path that goes up", [file("../outside", "x")]],
      ["a path that goes up on its way", [folder("d"), file("d/../../outside", "x")]],
      ["a folder that is the one above", [folder("..")]],
      ["a folder that is the one above its own", [folder("d"), folder("d/..")]],
      ["a symlink in place of the folder above", [symlink("..", "x")]],
      ["a symlink whose own path goes up", [symlink("../outside", "x")]],
      ["an absolute path", [rawFile("/tmp/ekey-test-outside", "x")]],
      ["a path with an empty segment", [folder("d"), file("d//f", "x")]],
      ["a path with a segment that is a dot", [folder("d"), file("d/./f", "x")]],
      ["a path with a NUL", [rawFile("a\0b", "x")]],
      ["a file where the root folder is", [file("", "x")]],
      ["a second root folder", [encodeEntry(ROOT)]],
      ["a file behind a symlink out of the tree", [symlink("out", ".."), file("out/outside", "x")]],
      ["a symlink behind a symlink out of the tree", [symlink("out", ".."), symlink("out/outside", "x")]],
      ["a folder behind a symlink out of the tree", [symlink("out", ".."), folder("out/outside")]],
      ["a hardlink to a file outside", [hardlink("h", "../secret")]],
      ["a hardlink to a file outside by an absolute path", [hardlink("h", "/etc/hostname")]],
      ["a hardlink to a folder", [folder("d"), hardlink("h", "d")]],
      ["a hardlink to what comes later", [hardlink("h", "f"), file("f", "x")]],
      ["a hardlink through a symlink", [symlink("out", ".."), hardlink("h", "out/secret")]],
      ["a file twice", [file("f", "x"), file("f", "y")]],
      ["a file in a symlink's place", [symlink("l", "../outside"), file("l", "x")]],
      ["a folder in a file's place", [file("f", "x"), folder("f")]],
      ["a file in a folder that was not there before", [file("d/f", "x")]],
      ["a file in a file", [file("f", "x"), file("f/g", "y")]],
      ["a device", [device()]],
    ] as const) {
      it(name, async () => {
        await writeFile(join(folderOfTest, "secret"), "s")
        await assert.rejects(unpack(archive(...parts)), { code: BY_THE_SYSTEM.get(name) ?? "ERR_ARCHIVE" })
        assert.deepEqual((await readdir(folderOfTest)).sort(), ["root", "secret"])
        assert.equal((await lstat(join(folderOfTest, "secret"))).nlink, 1)
      })
    }

    for (const [name, bytes] of [
      ["an empty stream", Buffer.alloc(0)],
      ["an archive without a root folder", TAR_END],
      ["an archive without its end mark", archive(file("f", "x")).subarray(0, -1024)],
      ["an archive that ends within a file", Buffer.concat([encodeEntry(ROOT), encodeEntry(entry({ size: 5_000 })), Buffer.alloc(512)])],
      ["an archive that ends within a header", archive(file("f", "x")).subarray(0, 700)],
      ["a header with a wrong checksum", flipped(archive(file("f", "x")), 512 + 200)],
      ["noise", Buffer.alloc(2_048, 0x41)],
      ["an extended header of an impossible length", archive(pax("99999 path=x\n"))],
      ["an extended header with a length of nothing", archive(pax("0 path=x\n"))],
      ["an extended header without a length", archive(pax(" path=x\n"))],
      ["an extended header without a value", archive(pax("7 path\n"))],
      ["an extended header that is too long", archive(pax(`${"x".repeat(70_000)}\n`))],
      ["two extended headers", archive(pax("9 path=x\n"), pax("9 path=y\n"), file("f", "x"))],
      ["an extended header with a name that is not UTF-8", archive(pax(Buffer.from("3130 706174683dff0a".replace(" ", "20"), "hex")), file("f", "x"))],
      ["an extended header with a negative size", archive(pax("11 size=-5\n"), file("f", "x"))],
      ["an extended header with a size that is no number", archive(pax("13 size=1e999\n"), file("f", "x"))],
    ] as const) {
      it(name, async () => {
        await assert.rejects(unpack(bytes), { code: "ERR_ARCHIVE" })
      })
    }
  })

  it("stops when it is told to, with the reason that was given", async () => {
    const reason = new Error("enough")
    const abort = new AbortController()
    const bytes = archive(file("f", "x"))
    const source = (function* (): Generator<Uint8Array> {
      yield bytes.subarray(0, 1024)
      abort.abort(reason)
      yield bytes.subarray(1024)
    })()
    await assert.rejects(unpackInto(root, ReadableStream.from(source), { keepOwners: false, signal: abort.signal }), reason)
  })
})

/** A file whose path is written as it is, without our `./` before it. */
function rawFile(path: string, content: string): Buffer {
  const header = new Header({ path: "f", size: content.length, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), type: "File" })
  header.encode()
  return Buffer.concat([new Pax({ path }).encode(), header.block ?? Buffer.alloc(0), Buffer.from(content), paddingAfter(content.length)])
}

function device(): Buffer {
  const header = new Header({ path: "./null", size: 0, mode: 0o666, uid: 0, gid: 0, mtime: new Date(0), type: "CharacterDevice", devmaj: 1, devmin: 3 })
  header.encode()
  return header.block ?? Buffer.alloc(0)
}

function pax(content: string | Buffer): Buffer {
  const body = Buffer.from(content)
  const header = new Header({ path: "PaxHeader/x", size: body.length, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), type: "ExtendedHeader" })
  header.encode()
  return Buffer.concat([header.block ?? Buffer.alloc(0), body, paddingAfter(body.length)])
}

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}
