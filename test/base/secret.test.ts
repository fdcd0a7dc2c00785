import assert from "node:assert/strict"
import { format, inspect } from "node:util"
import { Secret } from "../../src/base/secret.ts"

const KEY = [0xde, 0xad, 0xbe, 0xef]

describe("Secret", () => {
  let bytes: Uint8Array
  let secret: Secret

  beforeEach(() => {
    bytes = Uint8Array.from(KEY)
    secret = new Secret(bytes)
  })

  it("lends its bytes until the work is done, then overwrites them", async () => {
    const { promise: work, resolve } = Promise.withResolvers<string>()
    let lent: Uint8Array | undefined
    const consumed = secret.consume((key) => {
      lent = key
      return work
    })
    assert.equal(lent, bytes, "no copy")
    assert.deepEqual([...bytes], KEY)
    resolve("done")
    assert.equal(await consumed, "done")
    assert.deepEqual([...bytes], [0, 0, 0, 0])
  })

  it("overwrites its bytes when the work fails, at once or later", async () => {
    await assert.rejects(secret.consume(() => { throw new Error("at once") }), /at once/)
    assert.deepEqual([...bytes], [0, 0, 0, 0])
    const later = Uint8Array.from(KEY)
    await assert.rejects(new Secret(later).consume(() => Promise.reject(new Error("later"))), /later/)
    assert.deepEqual([...later], [0, 0, 0, 0])
  })

  it("lends its bytes once, also while they are lent", async () => {
    const { promise: work, resolve } = Promise.withResolvers<undefined>()
    const first = secret.consume(() => work)
    await assert.rejects(secret.consume(() => assert.fail("lent twice")), /already consumed/)
    assert.deepEqual([...bytes], KEY, "the refusal takes nothing from the first")
    resolve(undefined)
    await first
    await assert.rejects(secret.consume(() => assert.fail("lent twice")), /already consumed/)
  })

  it("can be wiped without being lent, twice too, and lends nothing afterwards", async () => {
    secret.wipe()
    secret.wipe()
    assert.deepEqual([...bytes], [0, 0, 0, 0])
    await assert.rejects(secret.consume(() => assert.fail("lent")), /already consumed/)
  })

  it("shows nothing of itself in text, JSON, logs and inspection", () => {
    const shown = [
      String(secret), secret.toString(), JSON.stringify({ secret }), format("%s %o %j", secret, secret, secret),
      inspect(secret), inspect({ deep: { secret } }, { depth: null, showHidden: true }), JSON.stringify(Object.entries(secret)),
    ]
    const hex = Buffer.from(KEY).toString("hex")
    for (const text of shown) {
      assert.ok(!text.includes(hex) && !text.includes("222") && !text.includes("de ad"), text)
    }
    assert.equal(String(secret), "[secret]")
    assert.equal(JSON.stringify(secret), '"[secret]"')
    assert.equal(inspect([secret]), "[ [secret] ]")
  })
})
