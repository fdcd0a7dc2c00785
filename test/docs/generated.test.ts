import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { findOutdated, generatedFiles, writeOutdated } from "../../scripts/generate/files.ts"
import { replaceSection } from "../../scripts/generate/markdown.ts"

const ROOT = fileURLToPath(new URL("../..", import.meta.url))

describe("generated files", () => {
  it("are up to date: npm run generate", async () => {
    assert.deepEqual(await findOutdated(ROOT), [])
  })

  it("are the same each time", async () => {
    const contents = async (): Promise<string[]> => {
      const files = await generatedFiles()
      return Promise.all(files.map(async ({ path, make }) => make(await readFile(join(ROOT, path), "utf8"))))
    }
    assert.deepEqual(await contents(), await contents())
  })

  it("pass the command's own check", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["--disable-warning=ExperimentalWarning", join(ROOT, "scripts/generate.ts"), "--check"])
    assert.equal(stdout, "")
  })

  describe("in a copy of the project", () => {
    let copy: string

    beforeEach(async () => {
      copy = await mkdtemp(join(tmpdir(), "ekey-generate-"))
      for (const folder of ["docs", "config", "test/vectors"]) await cp(join(ROOT, folder), join(copy, folder), { recursive: true })
    })

    afterEach(async () => { await rm(copy, { recursive: true, force: true }) })

    it("are named when they differ or are missing, and mended by writing", async () => {
      const errors = join(copy, "docs/errors.md")
      const page = await readFile(errors, "utf8")
      await writeFile(errors, page.replace("| `ERR_DENIED` |", "| `ERR_REFUSED` |"))
      await rm(join(copy, "config/cloud.schema.json"))
      const paths = ["docs/errors.md", "config/cloud.schema.json"]
      assert.deepEqual(await findOutdated(copy), paths)
      assert.deepEqual(await writeOutdated(copy), paths)
      assert.equal(await readFile(errors, "utf8"), page)
      assert.deepEqual(await findOutdated(copy), [])
    })

    it("leave what is written by hand as it is", async () => {
      const errors = join(copy, "docs/errors.md")
      const page = (await readFile(errors, "utf8")).replace("# Error codes", "# Codes of errors")
      await writeFile(errors, page)
      assert.deepEqual(await writeOutdated(copy), [])
      assert.equal(await readFile(errors, "utf8"), page)
    })
  })

  it("need exactly one section of each name in a page", () => {
    const section = "<!-- generated: a -->\nold\n<!-- end of a -->"
    assert.equal(replaceSection(`before\n${section}\nafter`, "a", "new"), "before\n<!-- generated: a -->\n\nnew\n\n<!-- end of a -->\nafter")
    for (const page of ["", "<!-- generated: a -->", "<!-- end of a -->", `${section}${section}`]) {
      assert.throws(() => replaceSection(page, "a", "new"), /exactly one section a/)
    }
  })
})
