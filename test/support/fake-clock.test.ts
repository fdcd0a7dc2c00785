import assert from "node:assert/strict"
import { systemClock } from "../../src/base/clock.ts"
import type { Clock } from "../../src/base/clock.ts"
import { FakeClock, START_MS } from "./fake-clock.ts"

const HOUR_MS = 3_600_000

/** What holds on any clock without waiting for time to pass. */
function describeClock(name: string, open: () => Clock): void {
  describe(`Clock contract: ${name}`, () => {
    it("refuses a sleep whose signal is aborted already, with the signal's reason", async () => {
      const reason = new Error("stopped before")
      await assert.rejects(open().sleep(HOUR_MS, AbortSignal.abort(reason)), (error) => error === reason)
    })

    it("ends a sleep when its signal aborts, with the signal's reason", async () => {
      const abort = new AbortController()
      const reason = new Error("stopped")
      const sleep = open().sleep(HOUR_MS, abort.signal)
      abort.abort(reason)
      await assert.rejects(sleep, (error) => error === reason)
    })

    it("lets a callback be cancelled, twice too", () => {
      const cancel = open().after(HOUR_MS, () => { assert.fail("fired") })
      cancel()
      cancel()
    })

    it("never goes back on the monotonic clock", () => {
      const clock = open()
      const before = clock.monotonicMs()
      assert.ok(clock.monotonicMs() >= before)
    })
  })
}

describeClock("system", () => systemClock)
describeClock("fake", () => new FakeClock())

describe("FakeClock", () => {
  let clock: FakeClock
  let fired: string[]

  beforeEach(() => {
    clock = new FakeClock()
    fired = []
  })

  it("stands still until it is turned", async () => {
    clock.after(0, () => { fired.push("callback") })
    await new Promise((resolve) => { setImmediate(resolve) })
    assert.deepEqual([clock.now(), clock.monotonicMs(), fired], [START_MS, 0, []])
  })

  it("moves both clocks by a tick", async () => {
    await clock.tick(1500)
    assert.deepEqual([clock.now(), clock.monotonicMs()], [START_MS + 1500, 1500])
  })

  it("moves the wall clock alone by a jump, and nothing falls due", async () => {
    clock.after(1000, () => { fired.push("callback") })
    clock.jump(-HOUR_MS)
    await clock.tick(999)
    assert.deepEqual([clock.now(), clock.monotonicMs(), fired], [START_MS - HOUR_MS + 999, 999, []])
  })

  it("fires at the due time, and not one millisecond before", async () => {
    const wake = clock.sleep(500).then(() => { fired.push("sleep") })
    clock.after(500, () => { fired.push("callback") })
    await clock.tick(499)
    assert.deepEqual(fired, [])
    await clock.tick(1)
    await wake
    assert.deepEqual(fired, ["sleep", "callback"])
  })

  it("fires in the order of the due times, each at its own time", async () => {
    for (const ms of [300, 100, 200]) clock.after(ms, () => { fired.push(`${String(ms)} at ${String(clock.monotonicMs())}`) })
    await clock.tick(1000)
    assert.deepEqual(fired, ["100 at 100", "200 at 200", "300 at 300"])
  })

  it("lets promise jobs run between two timers", async () => {
    const first = clock.sleep(1).then(() => Promise.resolve()).then(() => { fired.push("after the first") })
    clock.after(2, () => { fired.push("second") })
    await clock.tick(2)
    await first
    assert.deepEqual(fired, ["after the first", "second"])
  })

  it("fires within one tick what a fired timer sets", async () => {
    const loop = (async () => {
      for (let round = 0; round < 3; round++) {
        await clock.sleep(100)
        fired.push(String(clock.monotonicMs()))
      }
    })()
    await clock.tick(300)
    await loop
    assert.deepEqual(fired, ["100", "200", "300"])
  })

  it("does not fire what was cancelled or aborted", async () => {
    const abort = new AbortController()
    const sleep = clock.sleep(10, abort.signal)
    clock.after(10, () => { fired.push("callback") })()
    abort.abort(new Error("stopped"))
    await assert.rejects(sleep)
    assert.deepEqual([clock.sleepers, clock.callbacks], [0, 0])
    await clock.tick(10)
    assert.deepEqual(fired, [])
  })

  it("leaves no listener on the signal of a sleep that ended", async () => {
    const { signal } = new AbortController()
    let listeners = 0
    signal.addEventListener = () => { listeners++ }
    signal.removeEventListener = () => { listeners-- }
    const sleep = clock.sleep(1, signal)
    assert.equal(listeners, 1)
    await clock.tick(1)
    await sleep
    assert.equal(listeners, 0)
  })

  it("says when as many sleepers as asked for are parked", async () => {
    clock.after(1, () => undefined)
    const one = clock.sleeping().then(() => { fired.push("one") })
    const two = clock.sleeping(2).then(() => { fired.push("two") })
    await clock.tick(0)
    assert.deepEqual(fired, [], "a callback is no sleeper")
    void clock.sleep(HOUR_MS)
    await one
    assert.deepEqual(fired, ["one"])
    void clock.sleep(HOUR_MS)
    await two
    assert.equal(clock.sleepers, 2)
    await clock.sleeping(2)
  })

  it("passes on what a callback throws, and can be turned on", async () => {
    clock.after(1, () => { throw new Error("broken callback") })
    await assert.rejects(clock.tick(5), /broken callback/)
    await clock.tick(5)
    assert.equal(clock.monotonicMs(), 6)
  })

  it("refuses to go backwards, and two ticks at once", async () => {
    await assert.rejects(clock.tick(-1), RangeError)
    await assert.rejects(clock.tick(Number.NaN), RangeError)
    const first = clock.tick(1)
    await assert.rejects(clock.tick(1), /under way/)
    await first
  })
})
