import { randomBytes } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { isMissing, makePrivateFolder, syncFolder } from "../../base/files.ts"
import { decrypt, encrypt } from "./age.ts"
import { emptySummary, packFolder } from "./pack.ts"
import type { PackSummary } from "./pack.ts"
import { unpackInto } from "./unpack.ts"
import type { UnpackSummary } from "./unpack.ts"

/**
 * A folder of archives, one a backup: `<time>-<random>.tar.age`, each a tar in an age file that
 * stands on its own. An archive has its name only when it is complete and durable; one under way, or
 * left by a crash, is `.<name>.partial`. Names tell the order in which backups ended up here; they
 * are not bound to the content, so whoever may write to the folder can pass off an older archive of
 * the same ekey as a newer one.
 */
const ARCHIVE_NAME = /^(\d{8}T\d{9}Z)-[0-9a-f]{8}\.tar\.age$/
const PARTIAL_NAME = /^\.\d{8}T\d{9}Z-[0-9a-f]{8}\.tar\.age\.partial$/

/** A partial archive that nobody has written to for so long is of a process that died. */
const PARTIAL_LIFE_MS = 24 * 3600 * 1000
const PRIVATE_FILE = 0o600
const PRIVATE_FOLDER = 0o700
const READ_BYTES = 256 * 1024

/** Stands for the newest archive. */
export const LATEST = "latest"

export interface BackupOptions {
  readonly repository: string
  readonly source: string
  /** The ekey as base64url text, by `checkEkeyText`. Stays the caller's. */
  readonly ekeyText: Uint8Array
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface RestoreOptions {
  readonly repository: string
  /** Absent, or an empty folder. */
  readonly target: string
  /** An archive's name. Default: the newest. */
  readonly archive?: string
  readonly ekeyText: Uint8Array
  /** Gives everything to its owner in the archive; needs root. */
  readonly keepOwners: boolean
  readonly signal: AbortSignal
}

export interface ArchiveInfo {
  readonly name: string
  /** Of the encrypted archive. */
  readonly bytes: number
}

/**
 * Archives a folder. The repository is made if it is absent, and left out if it is within the source.
 * @returns what went in, problems included: an archive with problems is complete but for those.
 * @throws EkeyError ERR_FILE when the source is no folder; ERR_ARCHIVE when the archive can't be
 *   written; the signal's reason when aborted. Nothing is left in the repository then.
 */
export async function backup(options: BackupOptions): Promise<PackSummary & { archive: string }> {
  const source = await existingFolder(options.source)
  return translate("written", options.signal, async () => {
    await makePrivateFolder(options.repository)
    await removeDeadPartials(options.repository, options.clock.now())
    const archive = await nextName(options.repository, options.clock.now())
    const except = await stat(options.repository)
    const summary = emptySummary()
    const plain = packFolder(source, summary, { except, signal: options.signal })
    await writeArchive(options.repository, archive, await encrypt(plain, options.ekeyText))
    return { ...summary, archive }
  })
}

/**
 * Brings an archive back. The tree appears at the target in one step, when all of it has been proved
 * to be what was archived; until then it grows beside it as `.<target>.<random>.partial`.
 * @throws EkeyError ERR_FILE when the target holds something; ERR_ARCHIVE when there is no such
 *   archive or it can't be opened or unpacked; the signal's reason when aborted. The target is as it
 *   was then.
 */
export async function restore(options: RestoreOptions): Promise<UnpackSummary & { archive: string }> {
  const target = await emptyTarget(options.target)
  return translate("restored", options.signal, async () => {
    const archive = await chooseArchive(options.repository, options.archive ?? LATEST)
    await mkdir(dirname(target), { recursive: true })
    const partial = join(dirname(target), `.${basename(target)}.${randomBytes(8).toString("hex")}.partial`)
    await mkdir(partial, { mode: PRIVATE_FOLDER })
    try {
      const sealed: AsyncIterable<Buffer> = createReadStream(join(options.repository, archive), { highWaterMark: READ_BYTES })
      const summary = await unpackInto(partial, decrypt(sealed, options.ekeyText), options)
      // Replaces an empty folder, and refuses one in which something has appeared meanwhile.
      await rename(partial, target)
      return { ...summary, archive }
    } catch (error) {
      await rm(partial, { recursive: true, force: true })
      throw error
    }
  })
}

/** Complete archives, oldest first. @throws EkeyError ERR_ARCHIVE when the folder can't be read. */
export async function listArchives(repository: string): Promise<ArchiveInfo[]> {
  return translate("read", undefined, async () => {
    const archives: ArchiveInfo[] = []
    for (const name of await archiveNames(repository)) archives.push({ name, bytes: (await stat(join(repository, name))).size })
    return archives
  })
}

async function archiveNames(repository: string): Promise<string[]> {
  return (await readdir(repository)).filter((name) => ARCHIVE_NAME.test(name)).sort()
}

async function chooseArchive(repository: string, wanted: string): Promise<string> {
  const names = await archiveNames(repository)
  const name = wanted === LATEST ? names.at(-1) : names.find((each) => each === wanted)
  if (name === undefined) throw new EkeyError("ERR_ARCHIVE", "there is no such archive in the repository")
  return name
}

/** After every archive that is there, also when the clock has gone back: the newest is always the last. */
async function nextName(repository: string, nowMs: number): Promise<string> {
  const newest = (await archiveNames(repository)).at(-1)
  let time = timestamp(nowMs)
  const newestTime = newest === undefined ? "" : ARCHIVE_NAME.exec(newest)?.[1] ?? ""
  if (time <= newestTime) time = timestamp(parseTimestamp(newestTime) + 1)
  return `${time}-${randomBytes(4).toString("hex")}.tar.age`
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:.]/g, "")
}

function parseTimestamp(time: string): number {
  const ms = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/, "$1-$2-$3T$4:$5:$6.$7Z"))
  if (Number.isNaN(ms)) throw new EkeyError("ERR_ARCHIVE", "the newest archive's name has an impossible time: rename it")
  return ms
}

async function writeArchive(repository: string, name: string, sealed: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = join(repository, `.${name}.partial`)
  const file = await open(partial, "wx", PRIVATE_FILE)
  try {
    try {
      for await (const chunk of sealed) await file.writeFile(chunk)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, join(repository, name))
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  await syncFolder(repository)
}

async function removeDeadPartials(repository: string, nowMs: number): Promise<void> {
  for (const name of await readdir(repository)) {
    if (!PARTIAL_NAME.test(name)) continue
    try {
      const path = join(repository, name)
      if (nowMs - (await stat(path)).mtimeMs > PARTIAL_LIFE_MS) await rm(path, { force: true })
    } catch (error) {
      if (!isMissing(error)) throw error // Another backup was quicker.
    }
  }
}

async function existingFolder(path: string): Promise<string> {
  try {
    const real = await realpath(path)
    if ((await stat(real)).isDirectory()) return real
  } catch (cause) {
    throw new EkeyError("ERR_FILE", "the source can't be read", { cause })
  }
  throw new EkeyError("ERR_FILE", "the source is not a folder")
}

/** @returns the target's path, behind symlinks if it is there. */
async function emptyTarget(path: string): Promise<string> {
  try {
    if ((await readdir(path)).length === 0) return await realpath(path)
  } catch (cause) {
    if (isMissing(cause)) return resolve(path)
    throw new EkeyError("ERR_FILE", "the target is not a folder, or can't be read", { cause })
  }
  throw new EkeyError("ERR_FILE", "the target is not empty: choose a folder that is empty or absent")
}

async function translate<T>(what: "written" | "restored" | "read", signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  try {
    signal?.throwIfAborted()
    return await run()
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if (cause instanceof EkeyError) throw cause
    throw new EkeyError("ERR_ARCHIVE", `the archive could not be ${what}`, { cause })
  }
}
