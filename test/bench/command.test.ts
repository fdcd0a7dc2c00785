import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"

const RUN = fileURLToPath(new URL("../../bench/run.ts", import.meta.url))

function bench(...args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: unknown; stdout: string; stderr: string }>()
  execFile(process.execPath, [...process.execArgv, RUN, ...args], (error, stdout, stderr) => { resolve({ code: error?.code ?? 0, stdout, stderr }) })
  return promise
}

describe("npm run bench", () => {
  it("shows examples with --help", async () => {
    const [all, release] = await Promise.all([bench("--help"), bench("release", "--help")])
    assert.deepEqual([all.code, release.code], [0, 0])
    assert.match(all.stdout, /npm run bench -- release --quick --json/)
    assert.match(release.stdout, /--quick .*30 s/)
  })

  it("refuses what it does not know with exit code 2, before it starts anything", async () => {
    const wrong = await Promise.all([bench("release", "--fast"), bench("relaese"), bench("release", "extra")])
    assert.deepEqual(wrong.map(({ code }) => code), [2, 2, 2])
    for (const { stderr, stdout } of wrong) {
      assert.match(stderr, /--help/)
      assert.doesNotMatch(stderr, /starting/)
      assert.equal(stdout, "")
    }
  })
})
