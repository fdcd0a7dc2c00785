import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { EkeyError } from "../../../src/base/errors.ts"
import type { ErrorCode } from "../../../src/base/error-codes.ts"
import { Link } from "../../../src/wire/link/link.ts"
import type { LinkPeer } from "../../../src/wire/link/link.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"

/** A connection that ends when a test says so. */
class FakePeer implements LinkPeer {
  readonly #closed = Promise.withResolvers<{ code: number; reason: string }>()
  readonly closed = this.#closed.promise
  closedWith: number | undefined

  close(code: number, reason: string): void {
    this.closedWith ??= code
    this.#closed.resolve({ code, reason })
  }

  lose(): void {
    this.#closed.resolve({ code: 1006, reason: "" })
  }
}

describe("A link", () => {
  let clock: FakeClock
  let log: EventLog
  let stop: AbortController
  let running: Promise<void> | undefined
  let dials: number[]
  let peers: FakePeer[]
  /** What the next dials do, in order; afterwards they succeed. */
  let outcomes: (ErrorCode | "opens" | "hangs")[]
  let random: number

  beforeEach(() => {
    clock = new FakeClock()
    log = new EventLog()
    stop = new AbortController()
    running = undefined
    dials = []
    peers = []
    outcomes = []
    random = 0.5
  })
  afterEach(async () => {
    stop.abort()
    await running
  })

  function start(onReady?: (peer: FakePeer) => void): Link<FakePeer> {
    const link = new Link<FakePeer>({
      clock, log, random: () => random,
      ...(onReady ? { onReady } : {}),
      dial: async (signal) => {
        dials.push(clock.monotonicMs())
        const outcome = outcomes.shift() ?? "opens"
        if (outcome === "hangs") {
          await new Promise((_resolve, reject) => { signal.addEventListener("abort", () => { reject(new EkeyError("ERR_UNREACHABLE", "given up")) }) })
        }
        if (outcome !== "opens" && outcome !== "hangs") throw new EkeyError(outcome, "refused")
        const peer = new FakePeer()
        peers.push(peer)
        return peer
      },
    })
    running = link.run(stop.signal)
    return link
  }

  it("dials at once, and again and again after the backoff, and not one millisecond before", async () => {
    outcomes = ["ERR_UNREACHABLE", "ERR_UNREACHABLE", "ERR_UNREACHABLE"]
    start()
    await clock.sleeping()
    assert.deepEqual(dials, [0])
    await clock.tick(499)
    assert.deepEqual(dials, [0])
    await clock.tick(1)
    assert.deepEqual(dials, [0, 500])
    await clock.tick(999)
    assert.equal(dials.length, 2)
    await clock.tick(1)
    assert.deepEqual(dials, [0, 500, 1_500])
    await clock.tick(2_000)
    assert.deepEqual(dials, [0, 500, 1_500, 3_500])
    assert.equal(peers.length, 1)
  })

  it("goes on for ever, once a minute at most", async () => {
    random = 1 - Number.EPSILON
    outcomes = Array.from({ length: 500 }, () => "ERR_UNREACHABLE")
    start()
    await clock.tick(8 * 60 * 60_000)
    assert.ok(dials.length > 470, String(dials.length))
    assert.ok(dials.every((at, index) => index === 0 || at - (dials[index - 1] ?? 0) <= 60_000))
  })

  it("that drops at once keeps backing off, however often it opens", async () => {
    start()
    const gaps = [500, 1_000, 2_000, 4_000]
    for (const [index, gap] of gaps.entries()) {
      await nextTurn()
      peers[index]?.lose()
      await clock.sleeping()
      await clock.tick(gap - 1)
      assert.equal(dials.length, index + 1)
      await clock.tick(1)
      assert.equal(dials.length, index + 2)
    }
  })

  for (const [lastedMs, gapMs] of [[59_999, 4_000], [60_000, 500]] as const) {
    it(`that lasted ${String(lastedMs)} ms is redialled after ${String(gapMs)} ms`, async () => {
      outcomes = ["ERR_UNREACHABLE", "ERR_UNREACHABLE", "ERR_UNREACHABLE"]
      start()
      await clock.tick(500 + 1_000 + 2_000)
      assert.equal(peers.length, 1)
      await clock.tick(lastedMs)
      peers[0]?.lose()
      await clock.sleeping()
      const before = clock.monotonicMs()
      await clock.tick(gapMs - 1)
      assert.equal(dials.length, 4)
      await clock.tick(1)
      assert.deepEqual([dials.length, (dials[4] ?? 0) - before], [5, gapMs])
    })
  }

  for (const code of ["ERR_CERT_REVOKED", "ERR_CERT_EXPIRED", "ERR_CERT_AUTHORITY", "ERR_VERSION"] as const) {
    it(`that is rejected with ${code} waits from 30 s to 15 min, and never gives up`, async () => {
      outcomes = Array.from({ length: 60 }, () => code)
      start()
      await clock.sleeping()
      await clock.tick(29_999)
      assert.equal(dials.length, 1)
      await clock.tick(1)
      assert.equal(dials.length, 2)
      await clock.tick(10 * 60 * 60_000)
      const gaps = dials.map((at, index) => at - (dials[index - 1] ?? 0)).slice(1)
      assert.deepEqual(gaps.slice(0, 7), [30_000, 60_000, 120_000, 240_000, 480_000, 900_000, 900_000])
      assert.ok(gaps.length > 40)
      assert.equal(Math.max(...gaps), 900_000)
    })
  }

  it("takes a rejection back as soon as the other end accepts it", async () => {
    outcomes = ["ERR_CERT_REVOKED"]
    const link = start()
    await clock.sleeping()
    await clock.tick(30_000)
    assert.equal(link.peer, peers[0])
    assert.equal(log.of("link rejected").length, 1)
  })

  it("is ready for who waited, and tells its owner first", async () => {
    const order: string[] = []
    outcomes = ["ERR_UNREACHABLE"]
    const link = start(() => { order.push("owner") })
    const waited = link.ready(10_000).then((peer) => { order.push("waiter"); return peer })
    await clock.sleeping()
    await clock.tick(500)
    assert.equal(await waited, peers[0])
    assert.deepEqual(order, ["owner", "waiter"])
    assert.equal(await link.ready(1), peers[0])
    assert.equal(clock.callbacks, 0)
  })

  it("is not waited for longer than asked: ERR_UNREACHABLE, which may be retried", async () => {
    outcomes = ["hangs"]
    const link = start()
    const ends: unknown[] = []
    void link.ready(300).catch((error: unknown) => ends.push(error))
    await clock.tick(299)
    assert.equal(ends.length, 0)
    await clock.tick(1)
    const [end] = ends
    assert.ok(end instanceof EkeyError)
    assert.deepEqual([end.code, end.retryable, clock.callbacks], ["ERR_UNREACHABLE", true, 0])
  })

  it("has no peer between a loss and the next", async () => {
    const link = start()
    await nextTurn()
    assert.equal(link.peer, peers[0])
    peers[0]?.lose()
    await clock.sleeping()
    assert.equal(link.peer, undefined)
    await clock.tick(500)
    assert.equal(link.peer, peers[1])
  })

  describe("stops", () => {
    it("before it began", async () => {
      stop.abort()
      start()
      await running
      assert.deepEqual(dials, [])
    })

    it("while it dials", async () => {
      outcomes = ["hangs"]
      start()
      await nextTurn()
      stop.abort()
      await running
      assert.deepEqual([dials.length, peers.length], [1, 0])
    })

    it("while it dials, and closes what opens all the same", async () => {
      const gate = Promise.withResolvers<FakePeer>()
      const link = new Link<FakePeer>({ clock, log, random: () => 0.5, dial: () => gate.promise })
      running = link.run(stop.signal)
      await nextTurn()
      stop.abort()
      const peer = new FakePeer()
      gate.resolve(peer)
      await running
      assert.deepEqual([peer.closedWith, link.peer], [1001, undefined])
    })

    it("while it waits, at once", async () => {
      outcomes = ["ERR_CERT_REVOKED"]
      start()
      await clock.sleeping()
      stop.abort()
      await running
      assert.deepEqual([dials.length, clock.sleepers], [1, 0])
    })

    it("while it is ready, with a goodbye", async () => {
      const link = start()
      await nextTurn()
      stop.abort()
      await running
      assert.deepEqual([peers[0]?.closedWith, link.peer, dials.length], [1001, undefined, 1])
    })
  })
})
