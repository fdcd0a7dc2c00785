import assert from "node:assert/strict"
import { Secret } from "../../../src/base/secret.ts"
import { openRootKey } from "../../../src/connector/root-key/root-key-source.ts"
import type { RootKeySource } from "../../../src/connector/root-key/root-key-source.ts"

const KEPT = Buffer.alloc(32, 1)
const NEW = Buffer.alloc(32, 2)

/** A source in memory that counts what it made. */
function source(kept: Buffer | null): RootKeySource & { made: number } {
  return {
    made: 0,
    load: async () => kept && new Secret(Buffer.from(kept)),
    async create() {
      this.made++
      return new Secret(Buffer.from(NEW))
    },
  }
}

async function bytesOf(secret: Secret): Promise<Buffer> {
  return secret.consume((bytes) => Buffer.from(bytes))
}

describe("opening the root key", () => {
  for (const storeIsEmpty of [true, false]) {
    it(`takes the one that is kept, with ${storeIsEmpty ? "an empty store" : "a store that is not empty"}`, async () => {
      const keeping = source(KEPT)
      assert.deepEqual(await bytesOf(await openRootKey(keeping, storeIsEmpty)), KEPT)
      assert.equal(keeping.made, 0)
    })
  }

  it("makes one for an empty store", async () => {
    const empty = source(null)
    assert.deepEqual(await bytesOf(await openRootKey(empty, true)), NEW)
    assert.equal(empty.made, 1)
  })

  it("never makes one for a store that is not empty", async () => {
    const empty = source(null)
    await assert.rejects(openRootKey(empty, false), { code: "ERR_ROOT_KEY" })
    assert.equal(empty.made, 0)
  })
})
