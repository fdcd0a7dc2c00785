import assert from "node:assert/strict"
import { EkeyError } from "../../../src/base/errors.ts"
import { silentLogger } from "../../../src/base/logger.ts"
import { Link } from "../../../src/wire/link/link.ts"
import type { LinkPeer } from "../../../src/wire/link/link.ts"
import { FakeClock } from "../../support/fake-clock.ts"

const WITHIN_MS = 10_000

describe("A link that is stopped", () => {
  it("keeps nobody waiting: neither who waits already nor who comes later", async () => {
    const clock = new FakeClock()
    const stop = new AbortController()
    const dial = (): Promise<LinkPeer> => Promise.reject(new EkeyError("ERR_UNREACHABLE", "no route"))
    const link = new Link({ dial, clock, random: () => 0.5, log: silentLogger })
    const running = link.run(stop.signal)
    await clock.sleeping()
    const waiting = assert.rejects(link.ready(WITHIN_MS), { code: "ERR_UNREACHABLE" })
    stop.abort()
    await waiting
    await assert.rejects(link.ready(WITHIN_MS), { code: "ERR_UNREACHABLE" })
    await running
    assert.equal(clock.callbacks, 0)
  })
})
