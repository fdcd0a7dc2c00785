import assert from "node:assert/strict"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { EkeyError } from "../../src/base/errors.ts"
import { Authorities } from "../../src/cloud/authorities.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { serveLocal } from "../../src/wire/rpc/local-socket.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import { EventLog } from "../support/event-log.ts"
import { FakeClock } from "../support/fake-clock.ts"
import { mintAuthorities } from "../support/identities.ts"
import { requirePlatform } from "../support/requirements.ts"

describe("The gateway's way to the authorities", () => {
  let folder: string
  let list: RevocationList
  let authorities: Authorities
  let running: { close(): Promise<void> } | undefined
  const clock = new FakeClock()
  const log = new EventLog()

  before(async function () {
    requirePlatform(this, ["linux", "darwin"], "local sockets are files")
    list = await (await mintAuthorities()).revocationList("worker")
  })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-auth-"))
    authorities = new Authorities({ sockets: { gateway: join(folder, "g"), connector: join(folder, "c"), worker: join(folder, "w") }, clock, log })
  })
  afterEach(async () => {
    await authorities.close()
    await running?.close()
    running = undefined
    await rm(folder, { recursive: true })
  })

  async function start(): Promise<void> {
    running = await serveLocal({ path: join(folder, "w"), methods: METHODS, handlers: { "revocation.current": () => Promise.resolve({ list }) }, clock, log })
  }
  const UNAVAILABLE = (error: unknown): boolean => error instanceof EkeyError && error.code === "ERR_AUTHORITY_UNAVAILABLE" && error.retryable

  it("leads to the role's own socket, over one connection however many ask", async () => {
    await start()
    const peers = await Promise.all(Array.from({ length: 20 }, () => authorities.peer("worker")))
    assert.equal(new Set(peers).size, 1)
    assert.deepEqual(await peers[0]?.call("revocation.current", {}, 1_000), { list })
    await assert.rejects(authorities.peer("connector"), UNAVAILABLE)
  })

  it("says the same to everybody who asks at once while nobody answers, without the socket's path", async () => {
    const ends = await Promise.allSettled([authorities.peer("worker"), authorities.peer("worker"), authorities.peer("worker")])
    for (const end of ends) {
      assert.ok(end.status === "rejected" && UNAVAILABLE(end.reason))
      assert.ok(!String(end.reason).includes(folder))
    }
  })

  it("is found again after an outage, and after the authority was restarted", async () => {
    await assert.rejects(authorities.peer("worker"), UNAVAILABLE)
    await start()
    const first = await authorities.peer("worker")
    await running?.close()
    await first.closed
    await assert.rejects(authorities.peer("worker"), UNAVAILABLE)
    await start()
    const second = await authorities.peer("worker")
    assert.notEqual(second, first)
    assert.deepEqual(await second.call("revocation.current", {}, 1_000), { list })
  })

  it("ends with the gateway", async () => {
    await start()
    const peer = await authorities.peer("worker")
    await authorities.close()
    assert.equal((await peer.closed).code, 1000)
  })
})
