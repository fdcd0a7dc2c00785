import { createReadStream } from "node:fs"
import { lstat, readdir, readlink } from "node:fs/promises"
import { join } from "node:path"

export interface TreeComparison {
  readonly files: number
  readonly bytes: number
  /** What differs, by path below the root; empty when the trees are identical. */
  readonly differences: readonly string[]
}

/** More are counted, not named. */
const MAX_NAMED = 20

/**
 * Compares two trees entry by entry: names, kinds, permission bits, link targets, and every file
 * byte by byte. Sockets, pipes and devices of the first tree are passed over.
 */
export async function compareTrees(expected: string, actual: string): Promise<TreeComparison> {
  const differences: string[] = []
  const totals = { files: 0, bytes: 0 }
  const differ = (path: string, how: string): void => {
    if (differences.length < MAX_NAMED) differences.push(`${path || "."}: ${how}`)
  }
  await compareEntry("")
  return { ...totals, differences }

  async function compareEntry(path: string): Promise<void> {
    const [a, b] = await Promise.all([lstat(join(expected, path)), lstat(join(actual, path)).catch(() => null)])
    // Sockets, pipes and devices are no data; not every backup program keeps them.
    if (!a.isFile() && !a.isDirectory() && !a.isSymbolicLink()) return
    if (b === null) {
      differ(path, "is missing")
      return
    }
    if ((a.mode & 0o170000) !== (b.mode & 0o170000)) {
      differ(path, "is of another kind")
      return
    }
    if (a.isSymbolicLink()) {
      if (await readlink(join(expected, path)) !== await readlink(join(actual, path))) differ(path, "links elsewhere")
      return
    }
    if ((a.mode & 0o7777) !== (b.mode & 0o7777)) differ(path, "has other permissions")
    if (a.isFile()) {
      totals.files += 1
      totals.bytes += a.size
      if (a.size !== b.size || !await isSameContent(join(expected, path), join(actual, path))) differ(path, "has other content")
    }
    if (a.isDirectory()) await compareFolder(path)
  }

  async function compareFolder(path: string): Promise<void> {
    const [names, found] = await Promise.all([readdir(join(expected, path)), readdir(join(actual, path))])
    for (const name of found) {
      if (!names.includes(name)) differ(join(path, name), "is there, but not in the source")
    }
    for (const name of names.sort()) await compareEntry(join(path, name))
  }
}

/** Both of the same size; read in step, so that memory does not grow with the file. */
async function isSameContent(a: string, b: string): Promise<boolean> {
  const other = chunks(b)
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (let chunk of chunks(a)) {
      while (chunk.length > 0) {
        if (rest.length === 0) {
          const next = await other.next()
          if (next.done) return false
          rest = next.value
        }
        const length = Math.min(chunk.length, rest.length)
        if (!chunk.subarray(0, length).equals(rest.subarray(0, length))) return false
        chunk = chunk.subarray(length)
        rest = rest.subarray(length)
      }
    }
    return rest.length === 0 && (await other.next()).done === true
  } finally {
    await other.return()
  }
}

async function* chunks(path: string): AsyncGenerator<Buffer, void> {
  for await (const chunk of createReadStream(path)) if (Buffer.isBuffer(chunk)) yield chunk
}
