import { open, stat } from "node:fs/promises"
import type { FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { EkeyError } from "../../base/errors.ts"
import { createFileDurably, makePrivateFolder } from "../../base/files.ts"

const DATA_FILE = "ekeys.mdb"

/** Where LMDB (data version 2, 64 bit, little-endian) keeps what it knows a meta page by. */
const META = { flagsAt: 0x12, flag: 0x08, magicAt: 0x18, magic: 0xbeefc0de, versionAt: 0x1c, version: 2, pageBytesAt: 0x30, bytes: 0xa0 }

/**
 * Makes the vault's folder and empty files where they are missing, and refuses those that other
 * accounts can reach. The files are made here because LMDB would make them readable by everybody
 * and would not make their names durable; it takes an empty file for a new database.
 * @returns the path of the data file.
 * @throws EkeyError ERR_FILE when others can reach folder or files, ERR_STORE when they can't be made
 *   or written, ERR_STORE_DAMAGED when the data file is no LMDB database.
 */
export async function prepareVaultFiles(folder: string): Promise<string> {
  const data = join(folder, DATA_FILE)
  const lock = `${data}-lock`
  try {
    await makePrivateFolder(folder)
    await refuseReachable(folder, "folder", "700")
    for (const path of [data, lock]) {
      await createFileDurably(path, new Uint8Array(0))
      await refuseReachable(path, "file", "600")
    }
    await refuseDamaged(data)
  } catch (cause) {
    if (cause instanceof EkeyError) throw cause
    throw new EkeyError("ERR_STORE", "the store's folder could not be prepared", { cause })
  }
  return data
}

/** Windows keeps folders of a service account to itself by inherited access lists. */
async function refuseReachable(path: string, kind: string, mend: string): Promise<void> {
  if (process.platform === "win32") return
  const { mode } = await stat(path)
  if ((mode & 0o077) === 0) return
  throw new EkeyError("ERR_FILE", `the store's ${kind} may be reached by others (mode ${(mode & 0o777).toString(8)}): chmod ${mend} ${path}`)
}

/**
 * lmdb-js 3.5 ends the process with a segmentation fault where LMDB refuses to open a file, so what
 * LMDB checks is checked before it. Both meta pages must be whole: LMDB wants both.
 */
async function refuseDamaged(path: string): Promise<void> {
  const file = await open(path, "r+")
  try {
    // The size tells nothing more: a write that was cut short may leave half a page behind the last commit.
    const { size } = await file.stat()
    if (size === 0) return
    const pageBytes = await readMetaPage(file, 0)
    if (pageBytes === null || await readMetaPage(file, pageBytes) === null) {
      throw new EkeyError("ERR_STORE_DAMAGED", "the store's data file is damaged")
    }
  } finally {
    await file.close()
  }
}

/** @returns the page size that the meta page names, `null` if it is none. */
async function readMetaPage(file: FileHandle, at: number): Promise<number | null> {
  const meta = Buffer.alloc(META.bytes)
  await file.read(meta, 0, META.bytes, at)
  const pageBytes = meta.readUInt32LE(META.pageBytesAt)
  const whole = meta.readUInt16LE(META.flagsAt) === META.flag
    && meta.readUInt32LE(META.magicAt) === META.magic
    && meta.readUInt32LE(META.versionAt) === META.version
    && pageBytes >= 512
  return whole ? pageBytes : null
}
