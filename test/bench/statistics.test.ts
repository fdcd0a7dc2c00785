import assert from "node:assert/strict"
import { figuresOf, median, medianFigures, percentile } from "../../bench/release/statistics.ts"

describe("benchmark statistics", () => {
  it("take percentiles by nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1)
    assert.deepEqual([0.5, 0.99, 1, 0.001].map((q) => percentile(hundred, q)), [50, 99, 100, 1])
    assert.equal(percentile([7], 0.99), 7)
    assert.deepEqual([percentile([1, 2, 3], 0.5), percentile([1, 2, 3, 4], 0.5)], [2, 2])
  })

  it("take the mean of the two middle values where there is no one in the middle", () => {
    assert.deepEqual([median([3, 1, 2]), median([4, 1, 2, 3]), median([9])], [2, 2.5, 9])
  })

  it("refuse to say anything about no samples", () => {
    assert.throws(() => percentile([], 0.5), RangeError)
    assert.throws(() => median([]), RangeError)
  })

  it("count what was answered in the window, in whatever order it came", () => {
    assert.deepEqual(figuresOf([4, 1, 3, 2], 500), { perSecond: 8, p50Ms: 2, p99Ms: 4 })
  })

  it("keep one disturbed round from moving the result", () => {
    const calm = { perSecond: 100, p50Ms: 1, p99Ms: 2 }
    assert.deepEqual(medianFigures([calm, { perSecond: 5, p50Ms: 50, p99Ms: 900 }, calm]), calm)
  })
})
