import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { encodeFields, uint64 } from "../../src/crypto/fields.ts"
import { PATHS, SUBPROTOCOL } from "../../src/wire/limits.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { REFUSAL_HEADER } from "../../src/wire/rpc/websocket.ts"

describe("docs/protocol.md", () => {
  let page: string

  before(async () => { page = await readFile(new URL("../../docs/protocol.md", import.meta.url), "utf8") })

  it("works its example of canonical fields out rightly", () => {
    const example = /^(0000000f [\s\S]*?)```/m.exec(page)?.[1] ?? ""
    const shown = example.split("\n").map((line) => /^[0-9a-f ]*/.exec(line.replace(/ {2,}.*$/, ""))?.[0].replaceAll(" ", "") ?? "").join("")
    const encoded = encodeFields("ekey.v1 example", ["acme", Uint8Array.of(0, 255), uint64(1_767_225_600_000), ""])
    assert.equal(shown, encoded.toString("hex"))
  })

  it("has every method's parameters and result", () => {
    for (const method of Object.keys(METHODS)) {
      const section = page.split(`### \`${method}\`\n`)[1]?.split("\n### ")[0] ?? ""
      assert.match(section, /^Called by: .+\. Answered by: .+\.$/m, method)
      assert.match(section, /^Parameters:$/m, method)
      assert.match(section, /^Result:/m, method)
    }
  })

  it("names subprotocol, paths and the header of refusals as the code has them", () => {
    for (const name of [SUBPROTOCOL, ...Object.values(PATHS), REFUSAL_HEADER]) assert.ok(page.includes(`\`${name}\``), name)
  })

  it("has no link into itself that leads nowhere", () => {
    const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title.toLowerCase().replaceAll(/[^a-z0-9 -]/g, "").replaceAll(" ", "-"))
    for (const [, anchor = ""] of page.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.includes(anchor), anchor)
  })

  it("has every section that it refers to", () => {
    const numbers = new Set([...page.matchAll(/^##+ (\d+(?:\.\d+)?)\.? /gm)].map(([, number]) => number))
    const own = page.replaceAll(/RFC \d+(?:\)?, )section \d[\d.]*/g, "")
    const named = [...own.matchAll(/sections? (\d+(?:\.\d+)?)/g)].map(([, number]) => number)
    assert.ok(named.length > 20)
    assert.deepEqual(named.filter((number) => !numbers.has(number)), [])
  })
})
