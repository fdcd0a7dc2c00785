import assert from "node:assert/strict"
import { nodeCron } from "../../src/cloud/cron.ts"

describe("The cron", () => {
  for (const expression of ["* * * * *", "0 2 * * *", "*/5 * * * *", "0 0 1 1 *", "15 10 * * 1-5", "*/2 * * * * *", "0 0 2 * * sun"]) {
    it(`takes ${expression}`, () => { nodeCron.check(expression) })
  }

  for (const [expression, field] of [
    ["", /wrong/], ["* * * *", /wrong/], ["* * * * * * *", /wrong/], ["60 * * * *", /minute/i], ["* 24 * * *", /hour/i], ["* * 32 * *", /day/i],
    ["* * * 13 *", /month/i], ["* * * * 8", /day|week/i], ["a b c d e", /minute/i], ["-1 * * * *", /minute/i],
  ] as const) {
    it(`refuses ${JSON.stringify(expression)}, and names what is wrong`, () => {
      assert.throws(() => { nodeCron.check(expression) }, { code: "ERR_SCHEDULE", message: field })
    })
  }

  it("wakes at each time, and no more once it is ended", async () => {
    let ticks = 0
    const { promise: woken, resolve } = Promise.withResolvers<undefined>()
    const end = nodeCron.start("* * * * * *", () => {
      ticks += 1
      resolve(undefined)
    })
    await woken
    end()
    const { promise: later, resolve: passed } = Promise.withResolvers<undefined>()
    const endOther = nodeCron.start("* * * * * *", () => { passed(undefined) })
    await later
    endOther()
    assert.equal(ticks, 1)
  })
})
