import assert from "node:assert/strict"
import { INITIAL, nextState, waitMs } from "../../../src/wire/link/link-state.ts"
import type { LinkEvent, LinkState } from "../../../src/wire/link/link-state.ts"

const waiting = (attempt: number, because: "lost" | "rejected" = "lost"): Extract<LinkState, { at: "waiting" }> => ({ at: "waiting", attempt, because })
const DUE: LinkEvent = { type: "due" }
const OPENED: LinkEvent = { type: "opened" }
const STOP: LinkEvent = { type: "stop" }

describe("A link's state", () => {
  it("begins with a dial", () => {
    assert.deepEqual(INITIAL, { at: "dialing", attempt: 0 })
  })

  const rows: readonly [string, LinkState, LinkEvent, LinkState][] = [
    ["a wait that is over leads to a dial", waiting(3), DUE, { at: "dialing", attempt: 3 }],
    ["a dial that succeeds makes it ready, and keeps count", { at: "dialing", attempt: 3 }, OPENED, { at: "ready", attempt: 3 }],
    ["a dial that fails makes it wait longer", { at: "dialing", attempt: 3 }, { type: "failed", rejected: false }, waiting(4)],
    ["a rejected dial makes it wait as rejected", { at: "dialing", attempt: 3 }, { type: "failed", rejected: true }, waiting(4, "rejected")],
    ["a link that drops at once keeps backing off", { at: "ready", attempt: 3 }, { type: "lost", stable: false }, waiting(4)],
    ["a link that was stable starts afresh", { at: "ready", attempt: 3 }, { type: "lost", stable: true }, waiting(0)],
  ]
  for (const [title, before, event, after] of rows) {
    it(title, () => { assert.deepEqual(nextState(before, event), after) })
  }

  const states: readonly LinkState[] = [waiting(1), waiting(2, "rejected"), { at: "dialing", attempt: 1 }, { at: "ready", attempt: 1 }, { at: "stopped" }]
  it("stops from everywhere, for good", () => {
    for (const state of states) assert.deepEqual(nextState(state, STOP), { at: "stopped" })
    const events: readonly LinkEvent[] = [DUE, OPENED, { type: "lost", stable: true }, { type: "failed", rejected: true }]
    for (const event of events) assert.deepEqual(nextState({ at: "stopped" }, event), { at: "stopped" })
  })

  it("ignores what can't happen where it is", () => {
    for (const state of states) {
      if (state.at !== "waiting") assert.equal(nextState(state, DUE), state)
      if (state.at !== "dialing") {
        assert.equal(nextState(state, OPENED), state)
        assert.equal(nextState(state, { type: "failed", rejected: false }), state)
      }
      if (state.at !== "ready") assert.equal(nextState(state, { type: "lost", stable: true }), state)
    }
  })
})

describe("A link's wait", () => {
  const longest = (attempt: number, because: "lost" | "rejected" = "lost"): number => waitMs(waiting(attempt, because), () => 1 - Number.EPSILON)
  const shortest = (attempt: number, because: "lost" | "rejected" = "lost"): number => waitMs(waiting(attempt, because), () => 0)

  it("doubles from one second to one minute, with full jitter", () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 7, 8, 40, 1_000_000].map((attempt) => longest(attempt) + 1)
    assert.deepEqual(ceilings, [1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000])
    for (const attempt of [0, 1, 7, 1_000_000]) assert.equal(shortest(attempt), 0)
    assert.equal(waitMs(waiting(3), () => 0.5), 2_000)
  })

  it("of a rejected identity is from 30 s to 15 min, give or take a fifth, for ever", () => {
    const middle = (attempt: number): number => waitMs(waiting(attempt, "rejected"), () => 0.5)
    assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 1_000_000].map(middle), [30_000, 60_000, 120_000, 240_000, 480_000, 900_000, 900_000, 900_000])
    assert.deepEqual([shortest(1, "rejected"), Math.round(longest(1, "rejected"))], [24_000, 36_000])
    assert.deepEqual([shortest(9, "rejected"), Math.round(longest(9, "rejected"))], [720_000, 1_080_000])
  })
})
