import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { silentLogger } from "../../src/base/logger.ts"
import type { LogFields, Logger } from "../../src/base/logger.ts"
import { FakeClock } from "../support/fake-clock.ts"

const STOP_DEADLINE_MS = 5000

describe("Lifecycle", () => {
  let clock: FakeClock
  let lifecycle: Lifecycle
  let events: string[]
  let warnings: [string, LogFields | undefined][]

  beforeEach(() => {
    clock = new FakeClock()
    events = []
    warnings = []
    const log: Logger = { ...silentLogger, warn: (event, fields) => { warnings.push([event, fields]) } }
    lifecycle = new Lifecycle({ clock, log, stopDeadlineMs: STOP_DEADLINE_MS })
  })

  it("stops in the reverse of the order of starting, each part after the one before", async () => {
    for (const part of ["store", "link", "api"]) {
      lifecycle.add(part, async () => {
        events.push(`${part} stops`)
        await Promise.resolve()
        events.push(`${part} stopped`)
      })
    }
    await lifecycle.stop()
    assert.deepEqual(events, ["api stops", "api stopped", "link stops", "link stopped", "store stops", "store stopped"])
    assert.deepEqual(warnings, [])
  })

  it("goes on after a part that fails, and says which and why", async () => {
    lifecycle.add("store", () => { events.push("store") })
    lifecycle.add("link", () => Promise.reject(new EkeyError("ERR_STORE", "disk away")))
    lifecycle.add("api", () => { throw new Error("broken") })
    await lifecycle.stop()
    assert.deepEqual(events, ["store"])
    assert.deepEqual(warnings, [
      ["stop failed", { part: "api", error: "broken" }],
      ["stop failed", { part: "link", code: "ERR_STORE", error: "disk away" }],
    ])
  })

  it("leaves a stuck part behind at the deadline, and not one millisecond before", async () => {
    lifecycle.add("store", () => { events.push("store") })
    lifecycle.add("stuck", () => new Promise<never>(() => undefined))
    const stopped = lifecycle.stop()
    await clock.tick(STOP_DEADLINE_MS - 1)
    assert.deepEqual(events, [])
    await clock.tick(1)
    await stopped
    assert.deepEqual(events, ["store"])
    assert.deepEqual(warnings, [["stop deadline passed", { part: "stuck" }]])
  })

  it("leaves no deadline running", async () => {
    lifecycle.add("store", () => undefined)
    lifecycle.add("link", () => Promise.reject(new Error("broken")))
    await lifecycle.stop()
    assert.equal(clock.callbacks, 0)
  })

  it("gives each part a deadline of its own", async () => {
    lifecycle.add("slow too", () => clock.sleep(STOP_DEADLINE_MS - 1))
    lifecycle.add("slow", () => clock.sleep(STOP_DEADLINE_MS - 1))
    const stopped = lifecycle.stop()
    await clock.tick(2 * STOP_DEADLINE_MS)
    await stopped
    assert.deepEqual(warnings, [])
  })

  it("stops everything once: a second stop waits for the first", async () => {
    const { promise: work, resolve } = Promise.withResolvers<undefined>()
    lifecycle.add("api", async () => {
      events.push("api stops")
      await work
    })
    const first = lifecycle.stop()
    const second = lifecycle.stop().then(() => { events.push("second returns") })
    await clock.tick(0)
    assert.deepEqual(events, ["api stops"])
    resolve(undefined)
    await Promise.all([first, second])
    assert.deepEqual(events, ["api stops", "second returns"])
  })

  it("stops a part, too, that is added while the others stop", async () => {
    lifecycle.add("store", () => { events.push("store") })
    lifecycle.add("api", () => { lifecycle.add("late", () => { events.push("late") }) })
    await lifecycle.stop()
    assert.deepEqual(events, ["late", "store"])
  })

  it("has nothing to do without parts", async () => {
    await lifecycle.stop()
    assert.deepEqual(warnings, [])
  })
})
