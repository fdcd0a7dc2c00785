import assert from "node:assert/strict"
import { rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { revoke } from "../../src/authority/admin.ts"
import type { Authority } from "../../src/authority/authority.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import { START_MS } from "../support/fake-clock.ts"
import { testKey } from "../support/identities.ts"
import { removeTemplate, Scene } from "./scene.ts"

const DAY_MS = 24 * 60 * 60_000

describe("An authority's revocation list", () => {
  let scene: Scene
  let authority: Authority
  let worker: LocalIdentity
  let lists: RevocationLists
  beforeEach(async () => {
    scene = await Scene.open()
    authority = await scene.authority("worker")
    worker = await scene.enrol("worker", "w-1", await testKey(1))
    lists = new RevocationLists({ trust: worker.trust, clock: scene.clock })
  })
  afterEach(async () => { await scene.close() })
  after(removeTemplate)

  const apply = async (): Promise<void> => { lists.apply(await authority.revocationList()) }

  it("is empty, signed and good for 24 hours before anything is revoked", async () => {
    const list = await authority.revocationList()
    assert.deepEqual([list.role, list.serials, list.issuedAtMs, list.nextUpdateMs], ["worker", [], START_MS, START_MS + DAY_MS])
    lists.apply(list)
    lists.assertFresh("worker", START_MS)
  })

  it("has what was revoked meanwhile, under a higher number", async () => {
    const before = await authority.revocationList()
    await apply()
    assert.deepEqual(await revoke(scene.place("worker"), { tenant: "acme", name: "w-1" }), [worker.serial])
    const after = await authority.revocationList()
    assert.ok(after.number > before.number)
    assert.deepEqual(after.serials, [worker.serial])
    await apply()
    assert.ok(lists.isRevoked("worker", worker.serial))
  })

  it("stays the same, signature included, while nothing changes, also after a restart", async () => {
    const list = await authority.revocationList()
    scene.clock.nowMs += DAY_MS / 2 - 1
    assert.deepEqual(await authority.revocationList(), list)
    assert.deepEqual(await (await scene.authority("worker")).revocationList(), list)
  })

  it("is signed anew when half of its 24 hours are over", async () => {
    const { number } = await authority.revocationList()
    scene.clock.nowMs += DAY_MS / 2
    const list = await authority.revocationList()
    assert.ok(list.number > number)
    assert.equal(list.nextUpdateMs, scene.clock.nowMs + DAY_MS)
  })

  it("goes forward when the clock went back, and when it was lost or brought back from a backup", async () => {
    await apply()
    scene.clock.nowMs -= 60 * 60_000 // Further than verifiers put up with.
    await apply()
    await revoke(scene.place("worker"), { serial: worker.serial })
    await apply()
    scene.clock.nowMs += DAY_MS
    await rm(join(scene.folder, "worker", "revocation-list.json"))
    await apply()
    assert.ok(lists.isRevoked("worker", worker.serial))
  })

  it("of many callers at once is one list", async () => {
    const [first, ...others] = await Promise.all(Array.from({ length: 8 }, () => authority.revocationList()))
    for (const other of others) assert.deepEqual(other, first)
  })

  it("has every certificate of a name, and of nobody else", async () => {
    const second = await scene.renew(worker, await testKey(2))
    const other = await scene.enrol("worker", "w-2", await testKey(3))
    const namesake = await scene.enrol("worker", "w-1", await testKey(4), "other")
    await revoke(scene.place("worker"), { tenant: "acme", name: "w-1" })
    const { serials } = await authority.revocationList()
    assert.deepEqual(serials, [worker.serial, second.serial].sort())
    assert.ok(!serials.includes(other.serial) && !serials.includes(namesake.serial))
  })

  it("of one serial takes along what was renewed from it, and leaves what came before", async () => {
    const second = await scene.renew(worker, await testKey(2))
    const third = await scene.renew(second, await testKey(3))
    assert.deepEqual(await revoke(scene.place("worker"), { serial: second.serial }), [second.serial, third.serial])
    assert.deepEqual((await authority.revocationList()).serials, [second.serial, third.serial].sort())
  })

  it("drops a serial a day after its certificate expired", async () => {
    await revoke(scene.place("worker"), { serial: worker.serial })
    scene.clock.nowMs = worker.notAfterMs + DAY_MS - 1
    assert.deepEqual((await authority.revocationList()).serials, [worker.serial])
    scene.clock.nowMs += 1
    assert.deepEqual((await authority.revocationList()).serials, [])
  })

  it("keeps a serial whose record is damaged", async () => {
    await revoke(scene.place("worker"), { serial: worker.serial })
    await writeFile(join(scene.folder, "worker", "revoked", `${worker.serial}.json`), "")
    scene.clock.nowMs += 1000 * DAY_MS
    assert.deepEqual((await authority.revocationList()).serials, [worker.serial])
  })

  it("is refused rather than begun afresh when the last one is damaged", async () => {
    await authority.revocationList()
    await writeFile(join(scene.folder, "worker", "revocation-list.json"), "{")
    await assert.rejects(authority.revocationList(), { code: "ERR_STORE" })
  })

  it("may be asked for the same revocation twice, and names an unknown serial", async () => {
    await revoke(scene.place("worker"), { serial: worker.serial })
    const { number } = await authority.revocationList()
    assert.deepEqual(await revoke(scene.place("worker"), { serial: worker.serial }), [worker.serial])
    assert.equal((await authority.revocationList()).number, number)
    await assert.rejects(revoke(scene.place("worker"), { serial: "41".repeat(16) }), { code: "ERR_PARAMS" })
    await assert.rejects(revoke(scene.place("connector"), { serial: worker.serial }), { code: "ERR_PARAMS" })
    assert.deepEqual(await revoke(scene.place("worker"), { tenant: "acme", name: "nobody" }), [])
  })
})
