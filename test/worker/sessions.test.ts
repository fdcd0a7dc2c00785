import assert from "node:assert/strict"
import { EkeyError } from "../../src/base/errors.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import { SESSION_MS } from "../../src/wire/limits.ts"
import { Sessions } from "../../src/worker/sessions.ts"
import { Custody } from "../support/custody.ts"
import { connectPeers } from "../support/peer-pair.ts"

const DEADLINE_MS = 1_000

describe("A worker's sessions", () => {
  let custody: Custody
  let sessions: Sessions
  let peer: WirePeer
  let opened: number
  let fails: boolean

  beforeEach(async () => {
    custody = await Custody.open()
    opened = 0
    fails = false
    peer = connect()
    sessions = new Sessions({ identity: () => custody.worker, revocations: custody.revocations, clock: custody.clock })
  })

  const connect = (): WirePeer => connectPeers(custody.clock, { "session.open": (params) => {
    opened += 1
    return fails ? Promise.reject(new EkeyError("ERR_NO_CONNECTOR", "no connector is connected")) : custody.table.open(params)
  } }).near

  it("hold none before one was opened, and then that one", async () => {
    assert.equal(sessions.held(peer), undefined)
    const session = await sessions.open(peer, DEADLINE_MS)
    assert.equal(sessions.held(peer), session)
    assert.equal(opened, 1)
  })

  it("are opened by one handshake for all who ask meanwhile", async () => {
    const [first, ...rest] = await Promise.all(Array.from({ length: 10 }, () => sessions.open(peer, DEADLINE_MS)))
    for (const session of rest) assert.equal(session, first)
    assert.equal(opened, 1)
  })

  it("fail for all who ask meanwhile, and are tried again for the next", async () => {
    fails = true
    const outcomes = await Promise.allSettled([sessions.open(peer, DEADLINE_MS), sessions.open(peer, DEADLINE_MS)])
    assert.deepEqual(outcomes.map(({ status }) => status), ["rejected", "rejected"])
    assert.equal(opened, 1)
    assert.equal(sessions.held(peer), undefined)
    fails = false
    await sessions.open(peer, DEADLINE_MS)
    assert.equal(opened, 2)
  })

  it("are not held for another link, and not shared with one", async () => {
    const other = connect()
    const [here, there] = await Promise.all([sessions.open(peer, DEADLINE_MS), sessions.open(other, DEADLINE_MS)])
    assert.notEqual(here.id, there.id)
    assert.equal(here.peer, peer)
    assert.equal(there.peer, other)
    const held = sessions.held(peer) ?? sessions.held(other)
    assert.ok(held)
    assert.equal(sessions.held(held.peer === peer ? other : peer), undefined)
  })

  it("are used until half a minute before their end", async () => {
    await sessions.open(peer, DEADLINE_MS)
    custody.clock.jump(SESSION_MS - 30_001)
    assert.ok(sessions.held(peer))
    custody.clock.jump(1)
    assert.equal(sessions.held(peer), undefined)
  })

  it("are not used once the custodian is revoked", async () => {
    await sessions.open(peer, DEADLINE_MS)
    custody.revocations.apply(await custody.authorities.revocationList("connector", ["41".repeat(16)]))
    assert.ok(sessions.held(peer))
    custody.revocations.apply(await custody.authorities.revocationList("connector", [custody.identity.serial]))
    assert.equal(sessions.held(peer), undefined)
  })

  it("are not used once no list says that the custodian is not revoked", async () => {
    custody.clock.jump(24 * 60 * 60_000 - 60_000)
    await sessions.open(peer, DEADLINE_MS)
    custody.clock.jump(59_999)
    assert.ok(sessions.held(peer))
    custody.clock.jump(1)
    assert.equal(sessions.held(peer), undefined)
  })

  it("forget the one that is named, and no newer one", async () => {
    const first = await sessions.open(peer, DEADLINE_MS)
    sessions.forget(first)
    assert.equal(sessions.held(peer), undefined)
    const second = await sessions.open(peer, DEADLINE_MS)
    sessions.forget(first)
    assert.equal(sessions.held(peer), second)
  })
})
