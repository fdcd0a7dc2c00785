import { randomBytes } from "node:crypto"
import { open, rm, statfs } from "node:fs/promises"
import type { FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { EkeyError } from "../base/errors.ts"

/** Where Linux keeps files in memory. They may be swapped out: encrypt swap, or have none. */
export const MEMORY_FOLDER = "/dev/shm"

/** `statfs` of a folder in memory, from linux/magic.h. */
const TMPFS_MAGIC = 0x01021994

/**
 * A file in memory that has no name: only this process, and the children that are given `readFd`,
 * can reach it (and whoever may look into those processes: the same OS user, and root). Unlike a
 * pipe it can be read as often as wanted, and unlike a socket it can be opened as /dev/fd/N.
 */
export class MemoryFile {
  readonly #writer: FileHandle
  readonly #reader: FileHandle
  readonly #length: number

  private constructor(writer: FileHandle, reader: FileHandle, length: number) {
    this.#writer = writer
    this.#reader = reader
    this.#length = length
  }

  /** A read-only descriptor of this process, good until `destroy`. Not inherited unless passed on. */
  get readFd(): number {
    return this.#reader.fd
  }

  /**
   * `folder`: default /dev/shm. `content` stays the caller's.
   * @throws EkeyError ERR_CONFIG where there is no such folder, or it is on a disk: never a fallback.
   * @throws EkeyError ERR_FILE when the file can't be made.
   */
  static async create(content: Uint8Array, folder = MEMORY_FOLDER): Promise<MemoryFile> {
    await checkMemoryFolder(folder)
    // Unpredictable and exclusive: nobody can have made the file, or a link, in advance.
    const path = join(folder, `.${randomBytes(16).toString("hex")}`)
    const handles: FileHandle[] = []
    try {
      const writer = await open(path, "wx+", 0o600)
      handles.push(writer)
      const reader = await open(path, "r")
      handles.push(reader)
      // The name goes before the content comes: a process killed in between leaves an empty file.
      await rm(path)
      let written = 0
      while (written < content.length) {
        written += (await writer.write(content, written, content.length - written, written)).bytesWritten
      }
      return new MemoryFile(writer, reader, content.length)
    } catch (cause) {
      await Promise.allSettled(handles.map((handle) => handle.close()))
      await rm(path, { force: true })
      throw new EkeyError("ERR_FILE", "the ekey's file in memory could not be made", { cause })
    }
  }

  /** Overwrites the content, for those too who still have it open, then closes both descriptors. */
  async destroy(): Promise<void> {
    try {
      await this.#writer.write(Buffer.alloc(this.#length), 0, this.#length, 0)
      await this.#writer.truncate(0)
    } finally {
      await Promise.allSettled([this.#writer.close(), this.#reader.close()])
    }
  }
}

async function checkMemoryFolder(folder: string): Promise<void> {
  const mend = "choose `handoff: {via: environment, name: …}`, which the same OS user can read"
  if (process.platform !== "linux") {
    throw new EkeyError("ERR_CONFIG", `the ekey can be handed over by file descriptor or password command only on Linux: ${mend}`)
  }
  let type: number
  try {
    type = (await statfs(folder)).type
  } catch (cause) {
    throw new EkeyError("ERR_CONFIG", `there is no folder in memory for the ekey (${MEMORY_FOLDER}): mount a tmpfs there, or ${mend}`, { cause })
  }
  if (type !== TMPFS_MAGIC) {
    throw new EkeyError("ERR_CONFIG", `the folder for the ekey (${MEMORY_FOLDER}) is not in memory: mount a tmpfs there, or ${mend}`)
  }
}
