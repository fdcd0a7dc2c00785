import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { RevocationLists } from "../../../src/wire/identity/revocation.ts"
import { verifyPeer } from "../../../src/wire/identity/verification.ts"
import type { VerifiedPeer } from "../../../src/wire/identity/verification.ts"
import { watchIdentity } from "../../../src/wire/link/identity-watch.ts"
import type { LinkPeer } from "../../../src/wire/link/link.ts"
import { parseCertificate } from "../../../src/crypto/x509.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock } from "../../support/fake-clock.ts"
import { mintAuthorities } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"

const HOUR_MS = 60 * 60_000

describe("The watch over a peer's identity", () => {
  let authorities: TestAuthorities
  let clock: FakeClock
  let log: EventLog
  let revocations: RevocationLists
  let closed: PromiseWithResolvers<{ code: number; reason: string }>
  let ends: [number, string][]
  let peer: LinkPeer

  before(async () => { authorities = await mintAuthorities() })
  beforeEach(async () => {
    clock = new FakeClock()
    log = new EventLog()
    revocations = new RevocationLists({ trust: authorities.trust, clock })
    for (const role of ["gateway", "connector", "worker"] as const) revocations.apply(await authorities.revocationList(role))
    closed = Promise.withResolvers()
    ends = []
    peer = {
      closed: closed.promise,
      close: (code, reason) => {
        ends.push([code, reason])
        closed.resolve({ code, reason })
      },
    }
  })

  async function watch(lifeMs: number): Promise<VerifiedPeer> {
    const certificate = parseCertificate(await authorities.leaf({ role: "worker", notAfterMs: authorities.nowMs + lifeMs }))
    const verified = verifyPeer({ certificate, expect: { role: "worker" }, trust: authorities.trust, revocations, nowMs: clock.now() })
    watchIdentity({ peer, verified, revocations, clock, log })
    return verified
  }

  it("ends the link with 4401 when the certificate ends, and not before", async () => {
    await watch(HOUR_MS)
    await clock.tick(HOUR_MS - 1)
    assert.deepEqual(ends, [])
    await clock.tick(1)
    assert.deepEqual(ends, [[4401, "ERR_CERT_EXPIRED"]])
    assert.deepEqual(log.fieldOf("link ended", "code"), ["ERR_CERT_EXPIRED"])
    assert.equal(clock.callbacks, 0)
  })

  it("does not trust one long timer: after a clock that jumped it looks within half a minute", async () => {
    await watch(HOUR_MS)
    clock.jump(HOUR_MS)
    await clock.tick(30_000)
    assert.deepEqual(ends, [[4401, "ERR_CERT_EXPIRED"]])
  })

  it("ends the link the moment that a list revokes it", async () => {
    const { serial } = await watch(HOUR_MS)
    revocations.apply(await authorities.revocationList("worker", ["4".repeat(32)]))
    assert.deepEqual(ends, [])
    revocations.apply(await authorities.revocationList("worker", [serial]))
    assert.deepEqual(ends, [[4401, "ERR_CERT_REVOKED"]])
  })

  it("ends the link when the list holds no longer", async () => {
    await watch(48 * HOUR_MS)
    await clock.tick(24 * HOUR_MS - 1)
    assert.deepEqual(ends, [])
    await clock.tick(30_000)
    assert.deepEqual(ends, [[4401, "ERR_REVOCATION_STALE"]])
  })

  it("stops when the link has ended by itself", async () => {
    const { serial } = await watch(HOUR_MS)
    closed.resolve({ code: 1006, reason: "" })
    await nextTurn()
    assert.equal(clock.callbacks, 0)
    revocations.apply(await authorities.revocationList("worker", [serial]))
    await clock.tick(2 * HOUR_MS)
    assert.deepEqual(ends, [])
  })
})
