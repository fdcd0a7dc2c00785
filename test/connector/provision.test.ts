import assert from "node:assert/strict"
import { bytesOf } from "../../src/base/bytes.ts"
import { EkeyError } from "../../src/base/errors.ts"
import { BlindCopies } from "../../src/connector/blind-copies.ts"
import { provision } from "../../src/connector/provision.ts"
import { RecordSealer } from "../../src/crypto/sealed-record.ts"
import type { EkeyId } from "../../src/crypto/sealed-record.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import type { RecordsPutParams } from "../../src/wire/messages/custody.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { MemoryStore, newMemoryDisk } from "../support/memory-store.ts"
import type { MemoryDisk } from "../support/memory-store.ts"
import { connectPeers } from "../support/peer-pair.ts"

const ALICE = "alice@acme.example"
const BOB = "bob@acme.example"

/** Keeps what it is given to seal, in the very buffer. */
class WatchedSealer extends RecordSealer {
  readonly given: Uint8Array[] = []
  /** The ekeys as they were when they were given. */
  readonly sealed: Buffer[] = []

  override seal(id: EkeyId, ekey: Uint8Array, createdAtMs: number): Buffer {
    this.given.push(ekey)
    this.sealed.push(Buffer.from(ekey))
    return super.seal(id, ekey, createdAtMs)
  }
}

describe("Provisioning an ekey", () => {
  let clock: FakeClock
  let log: EventLog
  let disk: MemoryDisk
  let sealer: WatchedSealer
  /** What the cloud has stored. */
  let cloud: Map<string, Buffer>
  /** What the cloud does instead of storing. */
  let instead: ((params: RecordsPutParams) => Promise<{ stored: number }>) | undefined
  let peer: WirePeer | undefined
  let store: MemoryStore
  let copies: BlindCopies

  beforeEach(() => {
    clock = new FakeClock()
    log = new EventLog()
    disk = newMemoryDisk()
    sealer = new WatchedSealer({ rootKey: Buffer.alloc(32, 7), tenant: "acme" })
    cloud = new Map()
    instead = undefined
    peer = connectPeers(clock, { "records.put": (params) => instead?.(params) ?? keep(params) }).near
    restart()
  })

  const keep = async ({ records }: RecordsPutParams): Promise<{ stored: number }> => {
    for (const { user, version, record } of records) {
      const known = cloud.get(`${user} ${version}`)
      if (known && !known.equals(bytesOf(record))) throw new EkeyError("ERR_RECORD_CONFLICT", "another record is stored for this version of the ekey")
      cloud.set(`${user} ${version}`, bytesOf(record))
    }
    return { stored: records.length }
  }

  /** A new process on the same disk. */
  const restart = (): void => {
    store = new MemoryStore("acme", disk)
    copies = new BlindCopies({ store, peer: () => peer, log })
  }

  const run = (user = ALICE) => provision({ store, sealer, copies, clock, log }, user)

  it("makes a random one of 32 bytes, sealed here and the same in the cloud", async () => {
    assert.deepEqual(await run(), { version: 1, created: true })
    assert.deepEqual(await run(BOB), { version: 1, created: true })
    const [alice, bob] = sealer.sealed
    assert.equal(alice?.length, 32)
    assert.notDeepEqual(alice, bob)
    const stored = await store.readLatest(ALICE) ?? assert.fail()
    assert.equal(stored.acknowledged, true)
    assert.deepEqual(cloud.get(`${ALICE} 1`), Buffer.from(stored.record))
    assert.deepEqual(sealer.open({ user: ALICE, version: 1 }, stored.record), alice)
    assert.deepEqual(log.fieldOf("ekey created", "user"), [ALICE, BOB])
  })

  it("leaves the ekey in no buffer of its own", async () => {
    await run()
    assert.deepEqual(sealer.given, [Buffer.alloc(32)])
  })

  it("does not answer before the cloud has", async () => {
    const { promise: asked, resolve: ask } = Promise.withResolvers<undefined>()
    const { promise: may, resolve: allow } = Promise.withResolvers<undefined>()
    instead = async (params) => {
      ask(undefined)
      await may
      return await keep(params)
    }
    let answered = false
    const result = run().then(() => { answered = true })
    await asked
    await clock.tick(5_000)
    assert.equal(answered, false)
    assert.equal(await store.count(), 1) // Durable here first.
    allow(undefined)
    await result
  })

  it("gives the same ekey when it is repeated, and asks the cloud no more", async () => {
    await run()
    instead = () => assert.fail("nothing is left to be sent")
    assert.deepEqual(await run(), { version: 1, created: false })
    assert.equal(sealer.sealed.length, 1)
  })

  it("gives one ekey to many that ask at once", async () => {
    const results = await Promise.all(Array.from({ length: 20 }, () => run()))
    assert.equal(results.filter(({ created }) => created).length, 1)
    assert.ok(results.every(({ version }) => version === 1))
    assert.equal(await store.count(), 1)
    assert.equal(cloud.size, 1)
  })

  it("goes on with the same ekey after a crash between the record here and the cloud's answer", async () => {
    instead = () => new Promise(() => undefined) // The process dies while it waits.
    const lost = run()
    lost.catch(() => undefined)
    await clock.tick(0)
    const before = await store.readLatest(ALICE) ?? assert.fail()
    assert.equal(before.acknowledged, false)

    instead = undefined
    restart()
    assert.deepEqual(await run(), { version: 1, created: false })
    const after = await store.readLatest(ALICE) ?? assert.fail()
    assert.deepEqual(after, { ...before, acknowledged: true })
    assert.deepEqual(cloud.get(`${ALICE} 1`), before.record)
  })

  it("goes on with the same ekey after a crash between the cloud's answer and the note of it", async () => {
    store.acknowledge = () => Promise.reject(new Error("killed"))
    await assert.rejects(run(), { code: "ERR_NOT_DURABLE" })
    assert.equal(cloud.size, 1)
    restart()
    assert.deepEqual(await run(), { version: 1, created: false })
    assert.deepEqual(cloud.get(`${ALICE} 1`), Buffer.from((await store.readLatest(ALICE))?.record ?? []))
  })

  it("fails with a code that asks for a retry while there is no cloud, and keeps what it made", async () => {
    const kept = peer
    peer = undefined
    await assert.rejects(run(), (error) => error instanceof EkeyError && error.code === "ERR_NOT_DURABLE" && error.retryable)
    peer = kept
    assert.deepEqual(await run(), { version: 1, created: false })
    assert.equal(sealer.sealed.length, 1)
  })

  it("fails as long as the cloud holds another record for that version", async () => {
    cloud.set(`${ALICE} 1`, Buffer.from("another"))
    await assert.rejects(run(), { code: "ERR_NOT_DURABLE" })
    await assert.rejects(run(), { code: "ERR_NOT_DURABLE" })
    assert.deepEqual(cloud.get(`${ALICE} 1`), Buffer.from("another"))
    assert.equal((await store.readLatest(ALICE))?.acknowledged, false)
    assert.deepEqual(await run(BOB), { version: 1, created: true }) // Others are not held up.
  })

  it("passes on what the store can't do", async () => {
    store.create = () => Promise.reject(new EkeyError("ERR_STORE", "the disk is full"))
    await assert.rejects(run(), { code: "ERR_STORE" })
    assert.deepEqual(sealer.given, [Buffer.alloc(32)])
    assert.equal(cloud.size, 0)
  })
})
