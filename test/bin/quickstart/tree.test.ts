import assert from "node:assert/strict"
import { chmod, mkdir, mkdtemp, rm, symlink, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compareTrees } from "../../../src/bin/quickstart/tree.ts"

describe("compareTrees", () => {
  let root: string
  let a: string
  let b: string

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "ekey-tree-"))
    a = join(root, "a")
    b = join(root, "b")
    for (const tree of [a, b]) {
      await mkdir(join(tree, "folder", "empty"), { recursive: true })
      await writeFile(join(tree, "folder", "small"), "content")
      // Larger than one chunk of a read stream.
      await writeFile(join(tree, "large"), Buffer.alloc(200_000, 7))
      await symlink("folder/small", join(tree, "link"))
    }
  })
  afterEach(async () => { await rm(root, { recursive: true, force: true }) })

  it("finds nothing in identical trees, and counts files and bytes", async () => {
    assert.deepEqual(await compareTrees(a, b), { files: 2, bytes: 200_007, differences: [] })
  })

  const changes: [name: string, change: () => Promise<void>, difference: string][] = [
    ["one byte at the very end", () => writeFile(join(b, "large"), Buffer.concat([Buffer.alloc(199_999, 7), Buffer.of(8)])), "large: has other content"],
    ["a shorter file", () => writeFile(join(b, "folder", "small"), "conten"), "folder/small: has other content"],
    ["a missing file", () => unlink(join(b, "folder", "small")), "folder/small: is missing"],
    ["a file more", () => writeFile(join(b, "extra"), ""), "extra: is there, but not in the source"],
    ["a missing empty folder", () => rm(join(b, "folder", "empty"), { recursive: true }), "folder/empty: is missing"],
    ["other permissions", () => chmod(join(b, "large"), 0o600), "large: has other permissions"],
    ["a link elsewhere", async () => { await unlink(join(b, "link")); await symlink("large", join(b, "link")) }, "link: links elsewhere"],
    ["a file in a link's place", async () => { await unlink(join(b, "link")); await writeFile(join(b, "link"), "content") }, "link: is of another kind"],
  ]
  for (const [name, change, difference] of changes) {
    it(`finds ${name}`, async () => {
      await change()
      assert.deepEqual((await compareTrees(a, b)).differences, [difference])
    })
  }

  it("finds that everything is missing", async () => {
    assert.deepEqual((await compareTrees(a, join(root, "nowhere"))).differences, [".: is missing"])
  })
})
