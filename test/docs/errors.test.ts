import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { ERROR_CODES, isErrorCode } from "../../src/base/error-codes.ts"

const read = (page: string): Promise<string> => readFile(new URL(`../../docs/${page}`, import.meta.url), "utf8")

describe("docs/errors.md", () => {
  it("has one row for each code, in the list's order, and no other", async () => {
    const rows = [...(await read("errors.md")).matchAll(/^\| `(ERR_[A-Z_]+)` \| (.+) \| (yes|no) \| (.+) \|$/gm)]
    assert.deepEqual(
      rows.map(([, code, what, retry, mend]) => [code, what, retry === "yes", mend]),
      Object.entries(ERROR_CODES).map(([code, { what, retryable, mend }]) => [code, what, retryable, mend]),
    )
  })

  for (const page of ["errors.md", "protocol.md"]) {
    it(`names no code in ${page} that is none`, async () => {
      const named = [...(await read(page)).matchAll(/\bERR_[A-Z_]+(?![A-Z_…[])/g)].map(([code]) => code)
      assert.ok(named.length > 20)
      assert.deepEqual(named.filter((code) => !isErrorCode(code) && code !== "ERR_CERT_" && code !== "ERR_"), [])
    })
  }
})
