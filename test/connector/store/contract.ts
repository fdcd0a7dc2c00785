import assert from "node:assert/strict"
import type { EkeyId, EkeyStore, OutboxEntry } from "../../../src/connector/store/ekey-store.ts"

/** Where a store outlives being closed. */
export interface StorePlace {
  /** Opens the store for a tenant, or makes it there. */
  open(tenant: string): Promise<EkeyStore>
  remove(): Promise<void>
}

const USER = "user-1@acme.example"
const FIRST: EkeyId = { user: USER, version: 1 }
const ROOT_KEY_ID = Buffer.alloc(8, 1)
const OTHER_ROOT_KEY_ID = Buffer.alloc(8, 2)

function record(fill: number): Buffer {
  return Buffer.alloc(93, fill)
}

function names(entries: readonly OutboxEntry[]): string[] {
  return entries.map(({ id }) => `${id.user} ${id.version}`)
}

export function describeEkeyStore(name: string, makePlace: () => Promise<StorePlace>): void {
  describe(`EkeyStore contract: ${name}`, () => {
    let place: StorePlace
    let store: EkeyStore

    beforeEach(async () => {
      place = await makePlace()
      store = await place.open("acme")
    })
    afterEach(async () => {
      await store.close()
      await place.remove()
    })

    async function reopen(): Promise<void> {
      await store.close()
      store = await place.open("acme")
    }

    describe("records", () => {
      it("gives back the very bytes that were stored", async () => {
        await store.create(FIRST, record(7))
        assert.deepEqual(await store.read(FIRST), { version: 1, record: record(7), acknowledged: false })
      })

      it("refuses to overwrite, and keeps the first value", async () => {
        await store.create(FIRST, record(1))
        await assert.rejects(store.create(FIRST, record(2)), { code: "ERR_EKEY_EXISTS" })
        assert.deepEqual((await store.read(FIRST))?.record, record(1))
      })

      it("refuses to overwrite what an earlier opening stored", async () => {
        await store.create(FIRST, record(1))
        await store.acknowledge([FIRST])
        await reopen()
        await assert.rejects(store.create(FIRST, record(2)), { code: "ERR_EKEY_EXISTS" })
        assert.deepEqual(await store.read(FIRST), { version: 1, record: record(1), acknowledged: true })
      })

      it("lets exactly one of 100 concurrent creates of one version win", async () => {
        const attempts = Array.from({ length: 100 }, (_, i) => store.create(FIRST, record(i)).then(() => i))
        const outcomes = await Promise.allSettled(attempts)
        const winners = outcomes.flatMap((outcome) => outcome.status === "fulfilled" ? [outcome.value] : [])
        const losers = outcomes.flatMap((outcome) => outcome.status === "rejected" ? [outcome.reason as { code: string }] : [])
        assert.equal(winners.length, 1)
        assert.ok(losers.every(({ code }) => code === "ERR_EKEY_EXISTS"))
        assert.deepEqual((await store.read(FIRST))?.record, record(winners[0] ?? -1))
        assert.equal(await store.count(), 1)
      })

      it("keeps many concurrent creates apart", async () => {
        await Promise.all(Array.from({ length: 200 }, (_, i) => store.create({ user: `user-${i}`, version: 1 }, record(i))))
        assert.equal(await store.count(), 200)
        for (let i = 0; i < 200; i++) assert.deepEqual((await store.read({ user: `user-${i}`, version: 1 }))?.record, record(i))
      })

      it("answers null for what is absent: another version, another user", async () => {
        await store.create(FIRST, record(1))
        assert.equal(await store.read({ user: USER, version: 2 }), null)
        assert.equal(await store.read({ user: `${USER}x`, version: 1 }), null)
        assert.equal(await store.read({ user: USER.slice(0, -1), version: 1 }), null)
        assert.equal(await store.readLatest(`${USER}x`), null)
        assert.equal(await store.readLatest(USER.slice(0, -1)), null)
      })

      it("reads the highest version of a user, in whatever order they came", async () => {
        for (const version of [2, 300, 1, 0xffffffff, 70_000]) await store.create({ user: USER, version }, record(version % 251))
        await store.create({ user: `${USER}!`, version: 9 }, record(9))
        await store.create({ user: "user-0", version: 9 }, record(9))
        assert.deepEqual(await store.readLatest(USER), { version: 0xffffffff, record: record(0xffffffff % 251), acknowledged: false })
      })

      it("tells users apart by every character and by case", async () => {
        const users = ["a", "A", "aa", "a!", "~".repeat(256), "~".repeat(255)]
        for (const [i, user] of users.entries()) await store.create({ user, version: 1 }, record(i))
        for (const [i, user] of users.entries()) assert.deepEqual((await store.readLatest(user))?.record, record(i))
      })

      it("keeps a copy of its own, and gives copies away", async () => {
        const mine = record(1)
        const creating = store.create(FIRST, mine)
        mine.fill(9)
        await creating
        const first = await store.read(FIRST)
        first?.record.fill(9)
        assert.deepEqual((await store.read(FIRST))?.record, record(1))
        const kept = await store.read(FIRST)
        await store.create({ user: USER, version: 2 }, record(2))
        await store.read({ user: USER, version: 2 })
        assert.deepEqual(kept?.record, record(1))
      })

      it("takes records of 1 to 256 bytes only", async () => {
        for (const bytes of [0, 257]) {
          await assert.rejects(store.create(FIRST, Buffer.alloc(bytes)), { code: "ERR_PARAMS" })
        }
        for (const bytes of [1, 256]) {
          await store.create({ user: USER, version: bytes }, Buffer.alloc(bytes, 5))
          assert.deepEqual((await store.read({ user: USER, version: bytes }))?.record, Buffer.alloc(bytes, 5))
        }
      })

      const WRONG_IDS: readonly (readonly [string, EkeyId])[] = [
        ["an empty user", { user: "", version: 1 }],
        ["257 characters", { user: "a".repeat(257), version: 1 }],
        ["a zero byte", { user: "a\0b", version: 1 }],
        ["a blank", { user: "a b", version: 1 }],
        ["a letter beyond ASCII", { user: "ä", version: 1 }],
        ["version 0", { user: "a", version: 0 }],
        ["a negative version", { user: "a", version: -1 }],
        ["half a version", { user: "a", version: 1.5 }],
        ["version 2^32", { user: "a", version: 2 ** 32 }],
      ]
      for (const [what, id] of WRONG_IDS) {
        it(`refuses ${what} in every method`, async () => {
          await assert.rejects(store.create(id, record(1)), { code: "ERR_PARAMS" })
          await assert.rejects(store.read(id), { code: "ERR_PARAMS" })
          await assert.rejects(store.acknowledge([id]), { code: "ERR_PARAMS" })
          await assert.rejects(store.unacknowledged(1, id), { code: "ERR_PARAMS" })
          if (id.version === 1) await assert.rejects(store.readLatest(id.user), { code: "ERR_PARAMS" })
          assert.equal(await store.count(), 0)
        })
      }
    })

    describe("outbox", () => {
      it("names every record until it is acknowledged", async () => {
        await store.create({ user: "b", version: 1 }, record(1))
        await store.create({ user: "a", version: 2 }, record(2))
        await store.create({ user: "a", version: 1 }, record(3))
        assert.deepEqual(names(await store.unacknowledged(10)), ["a 1", "a 2", "b 1"])
        await store.acknowledge([{ user: "a", version: 1 }, { user: "b", version: 1 }])
        assert.deepEqual(await store.unacknowledged(10), [{ id: { user: "a", version: 2 }, record: record(2) }])
        assert.equal((await store.read({ user: "a", version: 1 }))?.acknowledged, true)
        assert.equal((await store.readLatest("b"))?.acknowledged, true)
        assert.equal((await store.readLatest("a"))?.acknowledged, false)
        assert.equal(await store.count(), 3)
      })

      it("outlives closing, as do acknowledgements", async () => {
        await store.create({ user: "a", version: 1 }, record(1))
        await store.create({ user: "b", version: 1 }, record(2))
        await store.acknowledge([{ user: "a", version: 1 }])
        await reopen()
        assert.deepEqual(names(await store.unacknowledged(10)), ["b 1"])
        assert.equal((await store.read({ user: "a", version: 1 }))?.acknowledged, true)
      })

      it("gives pages of the size asked for, from behind a given record", async () => {
        for (let i = 0; i < 7; i++) await store.create({ user: `user-${i}`, version: 1 }, record(i))
        const first = await store.unacknowledged(3)
        assert.deepEqual(names(first), ["user-0 1", "user-1 1", "user-2 1"])
        assert.deepEqual(names(await store.unacknowledged(3, first[2]?.id)), ["user-3 1", "user-4 1", "user-5 1"])
        assert.deepEqual(names(await store.unacknowledged(3, { user: "user-5", version: 1 })), ["user-6 1"])
        assert.deepEqual(names(await store.unacknowledged(3, { user: "user-6", version: 1 })), [])
        assert.deepEqual(names(await store.unacknowledged(1, { user: "user-55", version: 1 })), ["user-6 1"])
      })

      it("gets no entry from a create that is refused", async () => {
        await store.create(FIRST, record(1))
        await store.acknowledge([FIRST])
        await assert.rejects(store.create(FIRST, record(2)), { code: "ERR_EKEY_EXISTS" })
        assert.deepEqual(await store.unacknowledged(10), [])
        assert.equal((await store.read(FIRST))?.acknowledged, true)
      })

      it("ignores acknowledgements of what it does not hold", async () => {
        await store.acknowledge([])
        await store.acknowledge([FIRST])
        await store.create(FIRST, record(1))
        assert.deepEqual(names(await store.unacknowledged(10)), [`${USER} 1`])
        await store.acknowledge([FIRST, FIRST])
        await store.acknowledge([FIRST])
        assert.deepEqual(await store.unacknowledged(10), [])
      })
    })

    describe("identity", () => {
      it("keeps tenant and store id over reopening", async () => {
        const { tenant, storeId } = store
        await reopen()
        assert.deepEqual([tenant, storeId], ["acme", store.storeId])
      })

      it("gives every store an id of its own", async () => {
        const elsewhere = await makePlace()
        const other = await elsewhere.open("acme")
        try {
          assert.notEqual(other.storeId, store.storeId)
          assert.equal(Buffer.from(other.storeId, "base64url").length, 16)
        } finally {
          await other.close()
          await elsewhere.remove()
        }
      })

      it("refuses another tenant, an empty store too, and still opens for its own", async () => {
        await store.close()
        await assert.rejects(place.open("other"), { code: "ERR_STORE_IDENTITY" })
        store = await place.open("acme")
        assert.equal(store.tenant, "acme")
      })
    })

    describe("root key", () => {
      it("refuses another root key once there are records, also after reopening", async () => {
        await store.bindRootKey(ROOT_KEY_ID)
        await store.create(FIRST, record(1))
        await assert.rejects(store.bindRootKey(OTHER_ROOT_KEY_ID), { code: "ERR_ROOT_KEY" })
        await reopen()
        await assert.rejects(store.bindRootKey(OTHER_ROOT_KEY_ID), { code: "ERR_ROOT_KEY" })
        await store.bindRootKey(ROOT_KEY_ID)
      })

      it("takes another one as long as the store is empty", async () => {
        await store.bindRootKey(ROOT_KEY_ID)
        await reopen()
        await store.bindRootKey(OTHER_ROOT_KEY_ID)
        await store.create(FIRST, record(1))
        await assert.rejects(store.bindRootKey(ROOT_KEY_ID), { code: "ERR_ROOT_KEY" })
      })

      it("refuses to guess the root key of records that came before it", async () => {
        await store.create(FIRST, record(1))
        await assert.rejects(store.bindRootKey(ROOT_KEY_ID), { code: "ERR_ROOT_KEY" })
      })
    })

    describe("closing", () => {
      it("finishes the creates under way", async () => {
        const creating = Array.from({ length: 50 }, (_, i) => store.create({ user: `user-${i}`, version: 1 }, record(i)))
        await store.close()
        await Promise.all(creating)
        store = await place.open("acme")
        assert.equal(await store.count(), 50)
      })

      it("may be done twice, and ends every method with ERR_STORE", async () => {
        await store.create(FIRST, record(1))
        await Promise.all([store.close(), store.close()])
        await store.close()
        const closed = { code: "ERR_STORE" }
        await assert.rejects(store.create({ user: "b", version: 1 }, record(1)), closed)
        await assert.rejects(store.read(FIRST), closed)
        await assert.rejects(store.readLatest(USER), closed)
        await assert.rejects(store.count(), closed)
        await assert.rejects(store.unacknowledged(1), closed)
        await assert.rejects(store.acknowledge([FIRST]), closed)
        await assert.rejects(store.bindRootKey(ROOT_KEY_ID), closed)
      })
    })
  })
}
