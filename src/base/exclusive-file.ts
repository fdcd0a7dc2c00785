import { randomBytes } from "node:crypto"
import { link, open, rm } from "node:fs/promises"
import { dirname } from "node:path"

/** Owner may read and write, nobody else. */
const PRIVATE_FILE = 0o600

/**
 * Makes a private file (mode 0600) unless there is one of that name: never overwrites, also not a
 * file that appears meanwhile. After a crash the file is there with all its content or not at all,
 * and once the promise resolves a power cut keeps it.
 * @returns false if the name was taken.
 */
export async function createFileDurably(path: string, content: Uint8Array): Promise<boolean> {
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

/** Makes new names in a folder durable. Windows has no such call and needs none. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
