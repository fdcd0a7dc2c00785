import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { Registry } from "../../src/cloud/registry.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { openMember } from "../support/wire-members.ts"
import type { TestMember } from "../support/wire-members.ts"

describe("The registry", () => {
  let registry: Registry
  const clock = new FakeClock()
  beforeEach(() => { registry = new Registry() })

  async function join(options: Omit<Parameters<typeof openMember>[0], "clock"> = {}): Promise<TestMember> {
    const joined = await openMember({ clock, ...options })
    registry.add(joined.member)
    return joined
  }

  it("knows who is connected, tenant by tenant", async () => {
    const a = await join({ tenant: "acme" })
    const b = await join({ tenant: "acme", name: "connector-2" })
    const c = await join({ tenant: "other" })
    assert.deepEqual(registry.of("acme"), [a.member, b.member])
    assert.deepEqual(registry.of("other"), [c.member])
    assert.deepEqual(registry.of("nobody"), [])
    assert.deepEqual(registry.of("__proto__"), [])
    assert.deepEqual(registry.all(), [a.member, b.member, c.member])
  })

  it("forgets who has gone, whichever end closed", async () => {
    const a = await join()
    const b = await join({ name: "connector-2" })
    a.far.close(1000, "done")
    b.member.peer.close(1001, "shutting down")
    await nextTurn()
    assert.deepEqual([registry.of("acme"), registry.all()], [[], []])
  })

  it("gives a slot to the newest connection, and closes the older one with 4409", async () => {
    const older = await join()
    const newer = await join()
    assert.equal((await older.far.closed).code, 4409)
    await nextTurn()
    assert.deepEqual(registry.of("acme"), [newer.member])
    newer.far.close(1000, "done")
    await nextTurn()
    assert.deepEqual(registry.all(), [])
  })

  it("keeps links of one name apart by slot, and names apart by tenant", async () => {
    const all = [await join({ role: "worker", slot: "worker-1" }), await join({ role: "worker", slot: "worker-1/a" }), await join({ role: "worker", tenant: "other", slot: "worker-1" })]
    await nextTurn()
    assert.deepEqual(registry.all(), all.map(({ member }) => member))
  })
})
