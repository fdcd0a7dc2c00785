import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import { BlindCopies } from "../../src/connector/blind-copies.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import type { RecordsPutParams } from "../../src/wire/messages/custody.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { MemoryStore } from "../support/memory-store.ts"
import { connectPeers } from "../support/peer-pair.ts"

const user = (index: number): string => `user-${String(index).padStart(5, "0")}`
const RECORD = Buffer.alloc(93, 1)

describe("Blind copies", () => {
  let clock: FakeClock
  let log: EventLog
  let store: MemoryStore
  let peer: WirePeer | undefined
  let copies: BlindCopies
  /** The users of each batch that came to the cloud. */
  let batches: string[][]
  let cloud: (params: RecordsPutParams) => Promise<void>

  beforeEach(() => {
    clock = new FakeClock()
    log = new EventLog()
    store = new MemoryStore("acme")
    batches = []
    cloud = () => Promise.resolve()
    peer = connectPeers(clock, { "records.put": async (params) => {
      batches.push(params.records.map((record) => record.user))
      await cloud(params)
      return { stored: params.records.length }
    } }).near
    copies = new BlindCopies({ store, peer: () => peer, log })
  })

  const add = async (from: number, to: number): Promise<void> => {
    for (let index = from; index < to; index++) await store.create({ user: user(index), version: 1 }, RECORD)
  }
  const left = async (): Promise<string[]> => (await store.unacknowledged(10_000)).map(({ id }) => id.user)
  const refuse = (...users: string[]) => async ({ records }: RecordsPutParams): Promise<void> => {
    if (records.some((record) => users.includes(record.user))) throw new EkeyError("ERR_RECORD_CONFLICT", "another record is stored for this version of the ekey")
  }

  it("send nothing when nothing is left to be sent", async () => {
    await copies.flush()
    assert.deepEqual(batches, [])
  })

  it("send everything, 500 records at a time, and note what the cloud has", async () => {
    await add(0, 1200)
    await copies.flush()
    assert.deepEqual(batches.map(({ length }) => length), [500, 500, 200])
    assert.deepEqual(new Set(batches.flat()).size, 1200)
    assert.deepEqual(await left(), [])
    await copies.flush()
    assert.equal(batches.length, 3)
  })

  it("note nothing before the cloud has answered", async () => {
    await add(0, 2)
    const { promise: asked, resolve: ask } = Promise.withResolvers<undefined>()
    const { promise: may, resolve: allow } = Promise.withResolvers<undefined>()
    cloud = () => {
      ask(undefined)
      return may.then(() => undefined)
    }
    const flushed = copies.flush()
    await asked
    assert.equal((await left()).length, 2)
    allow(undefined)
    await flushed
    assert.deepEqual(await left(), [])
  })

  it("share round trips between all who wait, and cover what was added while one was under way", async () => {
    const { promise: asked, resolve: ask } = Promise.withResolvers<undefined>()
    const { promise: may, resolve: allow } = Promise.withResolvers<undefined>()
    cloud = () => {
      ask(undefined)
      return may.then(() => undefined)
    }
    await add(0, 1)
    const first = copies.flush()
    await asked
    await add(1, 41)
    const rest = Array.from({ length: 40 }, () => copies.flush())
    allow(undefined)
    await Promise.all([first, ...rest])
    assert.deepEqual(await left(), [])
    assert.deepEqual(batches.map(({ length }) => length), [1, 40])
  })

  it("leave a record that the cloud refuses, alarm, and let it hold up no other", async () => {
    await add(0, 1100)
    cloud = refuse(user(3), user(499), user(1050))
    await copies.flush()
    assert.deepEqual(await left(), [user(3), user(499), user(1050)])
    assert.deepEqual(log.of("alarm").map(({ level, fields }) => [level, fields["kind"], fields["user"], fields["code"]]), [
      ["error", "record conflict", user(3), "ERR_RECORD_CONFLICT"],
      ["error", "record conflict", user(499), "ERR_RECORD_CONFLICT"],
      ["error", "record conflict", user(1050), "ERR_RECORD_CONFLICT"],
    ])
    await add(1100, 1101)
    await copies.flush()
    assert.deepEqual(await left(), [user(3), user(499), user(1050)])
  })

  it("fail without a link, keep what is left, and send it over the next one", async () => {
    await add(0, 3)
    const kept = peer
    peer = undefined
    await assert.rejects(copies.flush(), { code: "ERR_NOT_DURABLE" })
    assert.equal((await left()).length, 3)
    peer = kept
    await copies.flush()
    assert.deepEqual(await left(), [])
  })

  it("fail when the cloud can't store, keep what came before, and succeed later", async () => {
    await add(0, 700)
    cloud = async () => {
      if (batches.length === 2) throw new EkeyError("ERR_STORE", "the database could not be written")
    }
    await assert.rejects(copies.flush(), { code: "ERR_NOT_DURABLE" })
    assert.equal((await left()).length, 200)
    cloud = () => Promise.resolve()
    await copies.flush()
    assert.deepEqual(await left(), [])
  })

  it("fail when the cloud does not answer in time, or the link is lost meanwhile", async () => {
    await add(0, 1)
    cloud = () => new Promise(() => undefined)
    const late = assert.rejects(copies.flush(), { code: "ERR_NOT_DURABLE" })
    await clock.tick(10_000)
    await late
    const lost = assert.rejects(copies.flush(), { code: "ERR_NOT_DURABLE" })
    await clock.tick(0)
    peer?.close(1001, "gone")
    await lost
    assert.equal((await left()).length, 1)
  })

  it("tell each who waits of a failure, and start afresh for the next", async () => {
    await add(0, 1)
    cloud = () => Promise.reject(new EkeyError("ERR_STORE", "the database could not be written"))
    const outcomes = await Promise.allSettled([copies.flush(), copies.flush()])
    assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "rejected"])
    cloud = () => Promise.resolve()
    await copies.flush()
  })
})
