import { randomBytes } from "node:crypto"
import { link, mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import { EkeyError } from "./errors.ts"

/** Owner may read and write, nobody else. */
const PRIVATE_FILE = 0o600
const PUBLIC_FILE = 0o644
const PRIVATE_FOLDER = 0o700

export interface WriteOptions {
  /** Others may read the file. Default: only the owner. */
  readonly public?: boolean
}

/** Makes a folder that only its owner can enter; an existing one is left as it is. */
export async function makePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: PRIVATE_FOLDER })
}

/**
 * Replaces a file in one step: readers see the old content or the new, and after the promise
 * resolves a power cut keeps the new one.
 */
export async function writeFileDurably(path: string, content: string | Uint8Array, options: WriteOptions = {}): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  try {
    const file = await open(temporary, "wx", options.public ? PUBLIC_FILE : PRIVATE_FILE)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/**
 * Makes a private file (mode 0600) unless there is one of that name: never overwrites, also not a
 * file that appears meanwhile. After a crash the file is there with all its content or not at all,
 * and once the promise resolves a power cut keeps it.
 * @returns false if the name was taken.
 */
export async function createFileDurably(path: string, content: string | Uint8Array): Promise<boolean> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  try {
    const file = await open(temporary, "wx", PRIVATE_FILE)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    // Unlike a rename, a link fails if the name is taken.
    await link(temporary, path)
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false
    throw error
  } finally {
    await rm(temporary, { force: true })
  }
  await syncFolder(dirname(path))
  return true
}

/** Makes renames and new names in a folder durable. Windows has no such call and needs none. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** @returns the content, or `null` if there is no such file. Throws for every other fault. */
export async function readFileIfPresent(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

/**
 * Reads a file that holds a secret. Mode and content are of the same open file.
 * @returns the content, or `null` if there is no such file.
 * @throws EkeyError ERR_FILE when other accounts may read it.
 */
export async function readPrivateFile(path: string): Promise<Buffer | null> {
  let file
  try {
    file = await open(path, "r")
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    const { mode } = await file.stat()
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new EkeyError("ERR_FILE", `a secret file may be read by others (mode ${(mode & 0o777).toString(8)}): chmod 600 ${path}`)
    }
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Whether an error of `node:fs` says that the file is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT"
}
