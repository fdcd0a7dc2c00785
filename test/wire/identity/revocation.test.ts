import assert from "node:assert/strict"
import { toBase64url } from "../../../src/base/bytes.ts"
import { signPss } from "../../../src/crypto/rsa.ts"
import { REVOCATION_LIFE_MS, revocationBytes, RevocationLists } from "../../../src/wire/identity/revocation.ts"
import { MAX_REVOKED_SERIALS, RevocationList } from "../../../src/wire/messages/certificate.ts"
import { START_MS } from "../../support/fake-clock.ts"
import { mintAuthorities, testSerial } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"

const INVALID = { name: "EkeyError", code: "ERR_REVOCATION_INVALID" }
const STALE = { name: "EkeyError", code: "ERR_REVOCATION_STALE" }
const A = "41".repeat(16)
const B = "42".repeat(16)

describe("Revocation lists", () => {
  let own: TestAuthorities
  let lists: RevocationLists
  let nowMs: number
  before(async () => { own = await mintAuthorities() })
  beforeEach(() => {
    nowMs = START_MS
    lists = new RevocationLists({ trust: own.trust, clock: { now: () => nowMs } })
  })

  it("revoke the serials that their authority signed, for its role alone", async () => {
    lists.apply(await own.revocationList("worker", [B, A]))
    assert.deepEqual([lists.isRevoked("worker", A), lists.isRevoked("worker", B), lists.isRevoked("worker", testSerial())], [true, true, false])
    assert.deepEqual([lists.isRevoked("connector", A), lists.isRevoked("gateway", A)], [false, false])
  })

  it("are replaced by a higher number, also when that revokes less", async () => {
    lists.apply(await own.revocationList("worker", [A], { number: 5 }))
    lists.apply(await own.revocationList("worker", [], { number: 6 }))
    assert.equal(lists.isRevoked("worker", A), false)
  })

  it("never go back, and the newer one stays in force", async () => {
    const older = await own.revocationList("worker", [], { number: 5 })
    lists.apply(older)
    lists.apply(await own.revocationList("worker", [A], { number: 6 }))
    assert.throws(() => { lists.apply(older) }, INVALID)
    assert.equal(lists.isRevoked("worker", A), true)
  })

  it("may come again, and must not differ under one number", async () => {
    const list = await own.revocationList("worker", [A], { number: 5 })
    lists.apply(list)
    lists.apply(list)
    lists.apply(await own.revocationList("worker", [A], { number: 5 })) // Signed anew: another signature, the same content.
    assert.throws(() => { lists.apply({ ...list, serials: [] }) }, INVALID)
    await assert.rejects(async () => { lists.apply(await own.revocationList("worker", [B], { number: 5 })) }, INVALID)
    assert.equal(lists.isRevoked("worker", A), true)
  })

  it("are refused when any field was changed after signing", async () => {
    const list = await own.revocationList("worker", [A, B])
    const changes: Partial<RevocationList>[] = [
      { role: "connector" }, { number: list.number + 1 }, { issuedAtMs: list.issuedAtMs - 1 }, { nextUpdateMs: list.nextUpdateMs - 1 },
      { serials: [] }, { serials: [A] }, { serials: [A, "43".repeat(16)] }, { signature: toBase64url(Buffer.alloc(256)) },
    ]
    for (const change of changes) assert.throws(() => { lists.apply({ ...list, ...change }) }, INVALID, JSON.stringify(change))
    assert.deepEqual(lists.current(), [])
  })

  it("of a role are refused from every other authority, the gateway's above all", async () => {
    for (const role of ["gateway", "connector"] as const) {
      const list = { role: "worker" as const, number: 1, issuedAtMs: START_MS, nextUpdateMs: START_MS + 1000, serials: [] }
      const signature = toBase64url(await signPss(own.keys[role], revocationBytes(list)))
      assert.throws(() => { lists.apply({ ...list, signature }) }, INVALID)
    }
  })

  it("of a role without a trusted root are refused", async () => {
    const untrusting = new RevocationLists({ trust: { ...own.trust, roots: { ...own.trust.roots, worker: [] } }, clock: { now: () => START_MS } })
    await assert.rejects(async () => { untrusting.apply(await own.revocationList("worker")) }, INVALID)
  })

  it("from up to 5 minutes ahead are taken, and not one millisecond more", async () => {
    const ahead = await own.revocationList("worker", [], { issuedAtMs: START_MS + 300_000, nextUpdateMs: START_MS + 400_000 })
    nowMs = START_MS - 1
    assert.throws(() => { lists.apply(ahead) }, INVALID)
    nowMs = START_MS
    lists.apply(ahead)
  })

  it("hold for at most 24 hours, whatever they say", async () => {
    lists.apply(await own.revocationList("worker", [], { number: 1, nextUpdateMs: START_MS + REVOCATION_LIFE_MS }))
    for (const nextUpdateMs of [START_MS + REVOCATION_LIFE_MS + 1, START_MS, START_MS - 1]) {
      await assert.rejects(async () => { lists.apply(await own.revocationList("worker", [], { number: 9, nextUpdateMs })) }, INVALID)
    }
  })

  it("are stale when there is none for the role, and from the announced time on", async () => {
    assert.throws(() => { lists.assertFresh("worker", START_MS) }, STALE)
    lists.apply(await own.revocationList("worker", [], { nextUpdateMs: START_MS + 1000 }))
    lists.assertFresh("worker", START_MS + 999)
    assert.throws(() => { lists.assertFresh("worker", START_MS + 1000) }, STALE)
    assert.throws(() => { lists.assertFresh("connector", START_MS) }, STALE)
  })

  it("that are stale still revoke, but are not fresh", async () => {
    const list = await own.revocationList("worker", [A])
    nowMs = START_MS + 10 * REVOCATION_LIFE_MS
    lists.apply(list)
    assert.equal(lists.isRevoked("worker", A), true)
    assert.throws(() => { lists.assertFresh("worker", nowMs) }, STALE)
  })

  it("tell of each newer list, and of no repetition, until told to stop", async () => {
    const told: string[] = []
    const stop = lists.subscribe((role) => { told.push(role) })
    const first = await own.revocationList("worker")
    lists.apply(first)
    lists.apply(first)
    lists.apply(await own.revocationList("connector"))
    assert.deepEqual(told, ["worker", "connector"])
    stop()
    lists.apply(await own.revocationList("worker"))
    assert.equal(told.length, 2)
  })

  it("are in force when listeners hear of them, and reach the others past one that fails", async () => {
    const seen: boolean[] = []
    lists.subscribe(() => { throw new Error("broken") })
    lists.subscribe(() => { seen.push(lists.isRevoked("worker", A)) })
    const list = await own.revocationList("worker", [A])
    assert.throws(() => { lists.apply(list) }, AggregateError)
    assert.deepEqual(seen, [true])
  })

  it("are given out as they came, one for each role", async () => {
    const [worker, connector] = [await own.revocationList("worker", [A]), await own.revocationList("connector")]
    lists.apply(worker)
    lists.apply(connector)
    assert.deepEqual(lists.current(), [worker, connector])
  })

  it("are refused with serials unsorted, repeated, misspelt or too many, and with unknown fields", async () => {
    const list = await own.revocationList("worker", [A, B])
    const many = Array.from({ length: MAX_REVOKED_SERIALS + 1 }, (_, index) => index.toString(16).padStart(32, "0"))
    const rows = [
      { ...list, serials: [B, A] }, { ...list, serials: [A, A] }, { ...list, serials: [A.toUpperCase().replace("4", "F")] }, { ...list, serials: ["41"] },
      { ...list, serials: many }, { ...list, extra: 1 }, { ...list, number: 0 }, { ...list, number: 1.5 }, { ...list, signature: "" }, { ...list, role: "admin" },
    ]
    for (const row of rows) assert.equal(RevocationList.safeParse(row).success, false)
    assert.equal(RevocationList.safeParse(list).success, true)
    assert.throws(() => { lists.apply({ ...list, serials: [B, A] }) }, INVALID)
  })

  it("of all three roles at their fullest fit into one frame of 1 MiB", () => {
    assert.ok(3 * MAX_REVOKED_SERIALS * (32 + 3) < 1024 * 1024 - 16_384)
  })
})
