import assert from "node:assert/strict"
import { backoffMs, jitterMs } from "../../src/base/backoff.ts"

const POLICY = { baseMs: 1000, capMs: 60_000 }
const ALMOST_ONE = 1 - 2 ** -53

describe("backoffMs", () => {
  it("doubles the ceiling with each attempt, up to the cap", () => {
    const ceilings = [0, 1, 2, 5, 6, 7].map((attempt) => backoffMs(attempt, POLICY, () => ALMOST_ONE))
    assert.deepEqual(ceilings, [999, 1999, 3999, 31_999, 59_999, 59_999])
  })

  it("spreads over everything from nothing to the ceiling", () => {
    assert.deepEqual([0, 0.25, 0.5].map((random) => backoffMs(2, POLICY, () => random)), [0, 1000, 2000])
  })

  it("stays at the cap however often it has failed", () => {
    for (const attempt of [31, 1023, 1e9]) assert.equal(backoffMs(attempt, POLICY, () => 0.5), 30_000)
  })

  it("keeps to a base above the cap", () => {
    assert.equal(backoffMs(0, { baseMs: 10, capMs: 4 }, () => 0.5), 2)
  })
})

describe("jitterMs", () => {
  it("spreads evenly by the fraction, to both sides", () => {
    assert.deepEqual([0, 0.5, ALMOST_ONE].map((random) => jitterMs(25_000, 0.1, () => random)), [22_500, 25_000, 27_500])
  })

  it("changes nothing without a fraction", () => {
    assert.equal(jitterMs(25_000, 0, () => 0.9), 25_000)
  })
})
