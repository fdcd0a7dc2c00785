import assert from "node:assert/strict"
import { sharesOf } from "../../bench/release/profile.ts"
import type { CpuProfile } from "../../bench/release/profile.ts"

const FILES = ["", "node:internal/crypto/cipher", "", "", "file:///x/node_modules/zod/v4/core/schemas.js", ""]
const NAMES = ["(root)", "final", "digest", "(idle)", "run", "(garbage collector)"]

/** Node 3 is a native function that node 2 called; the samples are 10 us apart. */
function profileOf(samples: readonly number[]): CpuProfile {
  return {
    nodes: NAMES.map((functionName, index) => ({
      id: index + 1, callFrame: { functionName, url: FILES[index] ?? "" }, children: [[2, 4, 5, 6], [3]][index] ?? [],
    })),
    startTime: 1_000,
    samples: [...samples],
    timeDeltas: samples.map(() => 10),
  }
}

const ALWAYS = { startedUs: 0, endedUs: 1e9 }

describe("profile summary", () => {
  it("counts a native function to the file that called it, and leaves idle time out", () => {
    const { busy, groups } = sharesOf(profileOf([2, 3, 5, 6, 4, 4, 4, 4]), ALWAYS)
    assert.equal(busy, 0.5)
    assert.deepEqual(Object.fromEntries(groups), { "crypto": 0.5, "schemas (zod)": 0.25, "garbage collection": 0.25 })
  })

  it("looks at the window alone", () => {
    const { groups } = sharesOf(profileOf([5, 5, 5, 2, 2]), { startedUs: 1_035, endedUs: 1_060 })
    assert.deepEqual(groups, [["crypto", 1]])
  })
})
