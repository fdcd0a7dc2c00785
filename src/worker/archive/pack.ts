import type { Stats } from "node:fs"
import { constants, lstat, open, readdir, readlink } from "node:fs/promises"
import type { FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { TAR_END, encodeEntry, paddingAfter } from "./tar.ts"
import type { TarEntry } from "./tar.ts"

/** Why something of the source is not in the archive as it should be. */
export type ProblemReason =
  /** It went away before it was read. */
  | "vanished"
  /** It was written while it was read: what the archive has of it may be a mixture. */
  | "changed"
  /** The system refused, or failed, to read it. */
  | "unreadable"
  /** Its name, or what a symlink says, is not UTF-8. */
  | "name"

export interface Problem {
  /** Relative to the source. */
  readonly path: string
  readonly reason: ProblemReason
}

/** What went into an archive; filled while it is made. */
export interface PackSummary {
  /** Regular files, hardlinks to the same file included. */
  files: number
  /** Bytes of files' content. */
  bytes: number
  /** Sockets, pipes and devices: they have no content to keep, and are left out. */
  special: number
  /** Everything that went wrong; `problems` names the first 100. */
  problemCount: number
  readonly problems: Problem[]
}

export interface PackOptions {
  /** A folder within the source to leave out: the repository itself. */
  readonly except?: { readonly dev: number; readonly ino: number }
  readonly signal: AbortSignal
}

const CHUNK_BYTES = 128 * 1024
const MAX_NAMED_PROBLEMS = 100
/** JavaScript's range of dates. */
const MAX_DATE_MS = 8.64e15

export function emptySummary(): PackSummary {
  return { files: 0, bytes: 0, special: 0, problemCount: 0, problems: [] }
}

/**
 * A folder's content as the bytes of a tar archive, in the order of names. Keeps files, folders
 * (empty ones too), symlinks as they are, hardlinks, modes, owners and times to the millisecond; not
 * extended attributes. One file is read at a time, in chunks. What can't be read or changes meanwhile
 * is named in `summary` and never stops the rest: a file that shrank is filled with zeros.
 * @throws the signal's reason when aborted.
 */
export async function* packFolder(source: string, summary: PackSummary, options: PackOptions): AsyncGenerator<Buffer> {
  const packer = new Packer(source, summary, options)
  // Deep trees need a stack of our own: nested generators would pass each chunk through every level.
  const pending = [""]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    options.signal.throwIfAborted()
    const found = await packer.find(path)
    if (!found || packer.isExcept(found)) continue
    if (found.isDirectory()) {
      yield encodeEntry(entryOf("folder", path, found))
      for (const name of await packer.names(path)) pending.push(path === "" ? name : `${path}/${name}`)
    } else if (found.isSymbolicLink()) {
      const target = await packer.target(path)
      if (target !== null) yield encodeEntry({ ...entryOf("symlink", path, found), target })
    } else if (found.isFile()) {
      yield* packer.file(path)
    } else {
      summary.special++
    }
  }
  yield TAR_END
}

class Packer {
  readonly #source: string
  readonly #summary: PackSummary
  readonly #options: PackOptions
  /** Files with more than one name, by device and inode: the name under which each is in the archive. */
  readonly #linked = new Map<string, string>()

  constructor(source: string, summary: PackSummary, options: PackOptions) {
    this.#source = source
    this.#summary = summary
    this.#options = options
  }

  async find(path: string): Promise<Stats | null> {
    return this.#attempt(path, () => lstat(this.#absolute(path)))
  }

  isExcept(found: Stats): boolean {
    const { except } = this.#options
    return except?.dev === found.dev && except.ino === found.ino
  }

  /** A folder's names, last first; those that are not UTF-8 are problems. */
  async names(path: string): Promise<string[]> {
    const raw = await this.#attempt(path, () => readdir(this.#absolute(path), { encoding: "buffer" })) ?? []
    const names: string[] = []
    for (const bytes of raw) {
      const name = textOf(bytes)
      if (name === null) this.#problem(join(path, bytes.toString()), "name")
      else names.push(name)
    }
    return names.sort().reverse()
  }

  async target(path: string): Promise<string | null> {
    const bytes = await this.#attempt(path, () => readlink(this.#absolute(path), { encoding: "buffer" }))
    if (bytes === null) return null
    const target = textOf(bytes)
    if (target === null) this.#problem(path, "name")
    return target
  }

  async* file(path: string): AsyncGenerator<Buffer> {
    // It may have become something else since it was found: never follow a link, never wait for a pipe.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = await this.#attempt(path, () => open(this.#absolute(path), flags))
    if (!file) return
    try {
      const before = await this.#attempt(path, () => file.stat())
      if (!before) return
      if (!before.isFile()) {
        this.#problem(path, "changed")
        return
      }
      yield* this.#open(path, file, before)
    } finally {
      await file.close()
    }
  }

  async* #open(path: string, file: FileHandle, before: Stats): AsyncGenerator<Buffer> {
    const key = `${String(before.dev)}:${String(before.ino)}`
    const earlier = before.nlink > 1 ? this.#linked.get(key) : undefined
    this.#summary.files++
    if (earlier !== undefined) {
      yield encodeEntry({ ...entryOf("hardlink", path, before), target: `./${earlier}` })
      return
    }
    if (before.nlink > 1) this.#linked.set(key, path)
    this.#summary.bytes += before.size
    yield encodeEntry({ ...entryOf("file", path, before), size: before.size })
    const whole = yield* this.#content(path, file, before.size)
    yield paddingAfter(before.size)
    if (!whole) return
    const after = await this.#attempt(path, () => file.stat())
    if (after && (after.size !== before.size || after.mtimeMs !== before.mtimeMs)) this.#problem(path, "changed")
  }

  /**
   * Exactly `size` bytes: the header has promised them. Zeros stand for those that can't be read.
   * @returns whether all could be read; if not it is among the problems already.
   */
  async* #content(path: string, file: FileHandle, size: number): AsyncGenerator<Buffer, boolean> {
    let whole = true
    for (let left = size; left > 0;) {
      this.#options.signal.throwIfAborted()
      // Fresh memory for each chunk: the next stages may hold on to it.
      const chunk = Buffer.allocUnsafe(Math.min(left, CHUNK_BYTES))
      const bytesRead = whole ? await this.#read(path, file, chunk) : 0
      if (bytesRead === 0) whole = false
      const part = bytesRead > 0 ? chunk.subarray(0, bytesRead) : chunk.fill(0)
      left -= part.length
      yield part
    }
    return whole
  }

  async #read(path: string, file: FileHandle, chunk: Buffer): Promise<number> {
    const read = await this.#attempt(path, () => file.read(chunk, 0, chunk.length))
    if (read?.bytesRead === 0) this.#problem(path, "changed")
    return read?.bytesRead ?? 0
  }

  async #attempt<T>(path: string, run: () => Promise<T>): Promise<T | null> {
    try {
      return await run()
    } catch (error) {
      this.#problem(path, reasonOf(error))
      return null
    }
  }

  #problem(path: string, reason: ProblemReason): void {
    this.#summary.problemCount++
    if (this.#summary.problems.length < MAX_NAMED_PROBLEMS) this.#summary.problems.push({ path, reason })
  }

  #absolute(path: string): string {
    return path === "" ? this.#source : `${this.#source}/${path}`
  }
}

function entryOf(type: TarEntry["type"], path: string, found: Stats): TarEntry {
  return {
    type, path, target: "", size: 0, mode: found.mode & 0o7777, uid: found.uid, gid: found.gid,
    mtimeMs: Math.max(-MAX_DATE_MS, Math.min(MAX_DATE_MS, Math.floor(found.mtimeMs))),
  }
}

/** @returns `null` for names that are not UTF-8, which would come back as another name. */
function textOf(bytes: Buffer): string | null {
  const text = bytes.toString()
  return Buffer.from(text).equals(bytes) ? text : null
}

function reasonOf(error: unknown): ProblemReason {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  if (code === "ENOENT") return "vanished"
  if (code === "ELOOP" || code === "ENOTDIR") return "changed"
  return "unreadable"
}
