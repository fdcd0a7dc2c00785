import { chmod, constants, lchown, link, lstat, lutimes, mkdir, open, symlink, utimes } from "node:fs/promises"
import { EkeyError } from "../../base/errors.ts"
import { ByteReader } from "./byte-reader.ts"
import { paddingAfter, readEntry } from "./tar.ts"
import type { TarEntry } from "./tar.ts"

export interface UnpackSummary {
  /** Regular files, hardlinks to the same file included. */
  readonly files: number
  /** Bytes of files' content. */
  readonly bytes: number
}

export interface UnpackOptions {
  /** Gives everything to its owner in the archive; needs root. */
  readonly keepOwners: boolean
  readonly signal: AbortSignal
}

const CHUNK_BYTES = 128 * 1024

/** What can't be in a name: on Windows also what begins a drive, a stream or another folder. */
const FOREIGN = process.platform === "win32" ? /[\0\\:]/ : /\0/

/**
 * Unpacks into `root`, an empty folder that only this process writes to. Nothing is ever written
 * outside it, whatever the archive says:
 * - paths are relative and without `..`, and an entry's folder must have come before it;
 * - symlinks are made last of all, so that no path can lead through one; they say what they said in
 *   the source, also where that leads out of the tree;
 * - nothing is overwritten: a second entry of a name is an error.
 * Folders get their modes and times when everything is in them. Holds the list of folders and
 * symlinks in memory, and one chunk of one file.
 * @throws EkeyError ERR_ARCHIVE for a malformed archive, the signal's reason when aborted, and the
 *   system's errors as they are. What was unpacked until then is the caller's to remove.
 */
export async function unpackInto(root: string, tar: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<UnpackSummary> {
  const reader = new ByteReader(tar)
  const unpacker = new Unpacker(root, options)
  try {
    for (let entry = await readEntry(reader); entry; entry = await readEntry(reader)) {
      options.signal.throwIfAborted()
      await unpacker.add(entry, reader)
    }
    // Only the end of the stream proves that nothing was cut or altered.
    while (await reader.some(CHUNK_BYTES)) options.signal.throwIfAborted()
  } finally {
    await reader.close()
  }
  await unpacker.finish()
  return unpacker.summary
}

class Unpacker {
  readonly #root: string
  readonly #options: UnpackOptions
  readonly #folders = new Map<string, TarEntry>()
  readonly #symlinks: TarEntry[] = []
  #files = 0
  #bytes = 0

  constructor(root: string, options: UnpackOptions) {
    this.#root = root
    this.#options = options
  }

  get summary(): UnpackSummary {
    return { files: this.#files, bytes: this.#bytes }
  }

  async add(entry: TarEntry, reader: ByteReader): Promise<void> {
    this.#checkPath(entry.path, entry.type)
    switch (entry.type) {
      case "folder":
        if (entry.path !== "") await mkdir(this.#absolute(entry.path), 0o700)
        this.#folders.set(entry.path, entry)
        break
      case "symlink":
        this.#symlinks.push(entry)
        break
      case "hardlink":
        await this.#hardlink(entry)
        break
      case "file":
        await this.#file(entry, reader)
        break
      default:
        entry.type satisfies never
    }
  }

  /** Call when the whole archive has been proved. */
  async finish(): Promise<void> {
    if (!this.#folders.has("")) throw malformed("it has no root folder")
    for (const entry of this.#symlinks) {
      const path = this.#absolute(entry.path)
      await symlink(entry.target, path)
      if (this.#options.keepOwners) await lchown(path, entry.uid, entry.gid)
      await lutimes(path, fileTime(entry.mtimeMs), fileTime(entry.mtimeMs))
    }
    // Inner folders first: a folder's own mode may forbid even its owner to enter.
    for (const [, entry] of [...this.#folders].reverse()) {
      const path = this.#absolute(entry.path)
      if (this.#options.keepOwners) await lchown(path, entry.uid, entry.gid)
      await utimes(path, fileTime(entry.mtimeMs), fileTime(entry.mtimeMs))
      await chmod(path, entry.mode)
    }
  }

  async #file(entry: TarEntry, reader: ByteReader): Promise<void> {
    const file = await open(this.#absolute(entry.path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
    try {
      for (let left = entry.size; left > 0;) {
        this.#options.signal.throwIfAborted()
        const part = await reader.some(Math.min(left, CHUNK_BYTES))
        if (!part) throw malformed("it ends within a file")
        await file.writeFile(part)
        left -= part.length
      }
      // A change of owner clears setuid, so the mode comes after it.
      if (this.#options.keepOwners) await file.chown(entry.uid, entry.gid)
      await file.chmod(entry.mode)
      await file.utimes(fileTime(entry.mtimeMs), fileTime(entry.mtimeMs))
    } finally {
      await file.close()
    }
    if (!await reader.exactly(paddingAfter(entry.size).length)) throw malformed("it ends within a file")
    this.#files++
    this.#bytes += entry.size
  }

  async #hardlink(entry: TarEntry): Promise<void> {
    const target = entry.target.replace(/^\.\//, "")
    this.#checkPath(target, "file")
    // No symlink exists yet, so this is a file that came out of this archive.
    if (!(await lstat(this.#absolute(target))).isFile()) throw malformed("a link is to something else than a file")
    await link(this.#absolute(target), this.#absolute(entry.path))
    this.#files++
  }

  /** The folder of every path must be one that was made here; the root folder comes first, once. */
  #checkPath(path: string, type: TarEntry["type"]): void {
    if (path === "" && type === "folder" && !this.#folders.has("")) return
    const segments = path.split("/")
    const unsafe = segments.some((segment) => segment === "" || segment === "." || segment === "..") || FOREIGN.test(path)
    if (unsafe) throw malformed("a path leads out of the tree")
    if (!this.#folders.has(segments.slice(0, -1).join("/"))) throw malformed("an entry comes before its folder")
  }

  #absolute(path: string): string {
    return path === "" ? this.#root : `${this.#root}/${path}`
  }
}

/**
 * A time for the system's calls. Node takes negative numbers for "now", but not negative dates. Half
 * a microsecond more keeps the nearest number below the millisecond from ending up in the one before.
 */
function fileTime(ms: number): number | Date {
  return ms < 0 ? new Date(ms) : (ms + 0.0005) / 1000
}

function malformed(what: string): EkeyError {
  return new EkeyError("ERR_ARCHIVE", `the archive is malformed: ${what}`)
}
