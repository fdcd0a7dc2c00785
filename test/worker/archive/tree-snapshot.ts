import { createHash } from "node:crypto"
import { lstat, readFile, readdir, readlink } from "node:fs/promises"
import { join } from "node:path"

/** Everything about a tree that a backup keeps, one line an entry, to be compared as it is. */
export async function snapshotTree(root: string): Promise<string[]> {
  const lines: string[] = []
  const pending = [""]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const absolute = join(root, path)
    const stats = await lstat(absolute)
    const mode = (stats.mode & 0o7777).toString(8)
    let content = ""
    if (stats.isDirectory()) {
      content = "folder"
      for (const name of await readdir(absolute)) pending.push(join(path, name))
    } else if (stats.isSymbolicLink()) {
      content = `-> ${await readlink(absolute)}`
    } else {
      const bytes = await readFile(absolute)
      content = `${String(bytes.length)} bytes ${createHash("sha256").update(bytes).digest("hex")} ${String(stats.nlink)} names`
    }
    lines.push(`${JSON.stringify(path)} ${mode} ${String(Math.floor(stats.mtimeMs))} ${content}`)
  }
  return lines.sort()
}
