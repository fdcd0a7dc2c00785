import assert from "node:assert/strict"
import { Deadlines } from "../../../src/wire/rpc/deadlines.ts"
import { FakeClock } from "../../support/fake-clock.ts"

describe("Deadlines", () => {
  let clock: FakeClock
  let expired: [number, number][]
  let deadlines: Deadlines
  beforeEach(() => {
    clock = new FakeClock()
    expired = []
    deadlines = new Deadlines(clock, (id) => { expired.push([id, clock.monotonicMs()]) })
  })

  it("expire each at its time, and not one millisecond before", async () => {
    deadlines.add(1, 100)
    deadlines.add(2, 50)
    deadlines.add(3, 100)
    await clock.tick(49)
    assert.deepEqual(expired, [])
    await clock.tick(1)
    assert.deepEqual(expired, [[2, 50]])
    await clock.tick(49)
    assert.equal(expired.length, 1)
    await clock.tick(1)
    assert.deepEqual(expired, [[2, 50], [1, 100], [3, 100]])
  })

  it("that are one millisecond apart expire one millisecond apart", async () => {
    deadlines.add(1, 100)
    deadlines.add(2, 101)
    await clock.tick(100)
    assert.deepEqual(expired, [[1, 100]])
    await clock.tick(1)
    assert.deepEqual(expired, [[1, 100], [2, 101]])
  })

  it("have one timer for ten thousand requests", () => {
    for (let id = 1; id <= 10_000; id++) deadlines.add(id, 10_000 + id % 7)
    assert.equal(clock.callbacks, 1)
  })

  it("arm anew for an earlier one alone", async () => {
    deadlines.add(1, 1_000)
    deadlines.add(2, 10)
    assert.equal(clock.callbacks, 1)
    await clock.tick(10)
    assert.deepEqual(expired, [[2, 10]])
    assert.equal(clock.callbacks, 1)
    await clock.tick(990)
    assert.deepEqual(expired, [[2, 10], [1, 1_000]])
    assert.equal(clock.callbacks, 0)
  })

  it("that are removed do not expire", async () => {
    deadlines.add(1, 10)
    deadlines.add(2, 20)
    deadlines.remove(1)
    await clock.tick(100)
    assert.deepEqual(expired, [[2, 20]])
  })

  it("that are cleared do not expire, and leave no timer", async () => {
    deadlines.add(1, 10)
    deadlines.clear()
    assert.equal(clock.callbacks, 0)
    await clock.tick(100)
    assert.deepEqual(expired, [])
    deadlines.add(2, 10)
    await clock.tick(10)
    assert.deepEqual(expired, [[2, 110]])
  })

  it("may be added while others expire", async () => {
    const again: Deadlines = new Deadlines(clock, (id) => {
      expired.push([id, clock.monotonicMs()])
      if (id < 3) again.add(id + 1, 5)
    })
    again.add(1, 10)
    await clock.tick(100)
    assert.deepEqual(expired, [[1, 10], [2, 15], [3, 20]])
  })
})
