import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { setImmediate as nextTurn } from "node:timers/promises"
import { systemClock } from "../../src/base/clock.ts"

describe("systemClock", () => {
  it("does not fire at once what is further away than Node can count", async () => {
    const warnings: string[] = []
    const note = (warning: Error): void => { warnings.push(warning.name) }
    process.on("warning", note)
    const abort = new AbortController()
    const sleep = systemClock.sleep(2 ** 40, abort.signal)
    const cancel = systemClock.after(2 ** 40, () => undefined)
    await nextTurn() // Node tells of a delay that it has cut to 1 ms.
    process.off("warning", note)
    cancel()
    abort.abort(new Error("enough"))
    await assert.rejects(sleep, /enough/)
    assert.deepEqual(warnings, [])
  })

  it("keeps no process alive for a callback", function () {
    this.timeout(60_000)
    const clock = new URL("../../src/base/clock.ts", import.meta.url).href
    const program = `import { systemClock } from "${clock}"\nsystemClock.after(3_600_000, () => {})`
    const { status } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { timeout: 30_000 })
    assert.equal(status, 0)
  })
})
