import assert from "node:assert/strict"
import { createPublicKey } from "node:crypto"
import { EkeyError } from "../../../src/base/errors.ts"
import { fromPem, parseCsr } from "../../../src/crypto/x509.ts"
import { spkiPin } from "../../../src/crypto/rsa.ts"
import type { LocalIdentity } from "../../../src/wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../../src/wire/identity/own-identity.ts"
import { keepRenewed, renew } from "../../../src/wire/identity/renewal.ts"
import type { RenewalOptions } from "../../../src/wire/identity/renewal.ts"
import type { CertificateRenewResult } from "../../../src/wire/messages/certificate.ts"
import { toBase64url } from "../../../src/base/bytes.ts"
import { EventLog } from "../../support/event-log.ts"
import { FakeClock, START_MS } from "../../support/fake-clock.ts"
import { mintAuthorities, testKey } from "../../support/identities.ts"
import type { TestAuthorities } from "../../support/identities.ts"
import { MemoryIdentityFolder } from "../../support/memory-identity-folder.ts"

const HOUR_MS = 60 * 60_000
const KEY = 30

describe("Renewal", () => {
  let authorities: TestAuthorities
  let clock: FakeClock
  let log: EventLog
  let own: OwnIdentity
  let folder: MemoryIdentityFolder
  let random: number
  let asked: number[]
  /** What the authority answers, in order; afterwards it signs. */
  let failures: EkeyError[]
  let stop: AbortController
  let running: Promise<void> | undefined

  before(async () => { authorities = await mintAuthorities() })
  beforeEach(async () => {
    clock = new FakeClock()
    log = new EventLog()
    // Valid for ten hours from now, so that half of its life is five hours from now.
    own = new OwnIdentity(await authorities.identity({ role: "worker", notBeforeMs: START_MS, notAfterMs: START_MS + 10 * HOUR_MS }))
    folder = new MemoryIdentityFolder(KEY)
    random = 0.5
    asked = []
    failures = []
    stop = new AbortController()
    running = undefined
  })
  afterEach(async () => {
    stop.abort()
    await running
  })

  async function sign(csr: string, notBeforeMs = clock.now()): Promise<CertificateRenewResult> {
    const { publicKey } = await parseCsr(Buffer.from(csr, "base64url"))
    const key = await testKey(KEY)
    assert.equal(spkiPin(publicKey), spkiPin(createPublicKey(key.export({ type: "pkcs8", format: "pem" }).toString())))
    const leaf = await authorities.leaf({ role: "worker", privateKey: key, notBeforeMs, notAfterMs: notBeforeMs + 10 * HOUR_MS })
    const { gateway, connector, worker } = authorities.roots
    return { certificate: toBase64url(leaf), roots: { gateway: [toBase64url(gateway)], connector: [toBase64url(connector)], worker: [toBase64url(worker)] } }
  }

  function options(change: Partial<RenewalOptions> = {}): RenewalOptions {
    return {
      folder, own, clock, random: () => random, log,
      send: async ({ csr }, deadlineMs) => {
        asked.push(clock.now() - START_MS)
        assert.equal(deadlineMs, 30_000)
        const failure = failures.shift()
        if (failure) throw failure
        return await sign(csr)
      },
      ...change,
    }
  }

  async function keep(): Promise<void> {
    running = keepRenewed(options(), stop.signal)
    await clock.sleeping()
  }

  /** Lets `ms` pass, and waits for what happens then. */
  async function pass(ms: number): Promise<void> {
    await clock.tick(ms)
    await clock.sleeping()
  }

  it("makes a new key and certificate this process's own, and keeps them first", async () => {
    const before = own.current()
    const seen: [boolean, boolean][] = []
    let now: LocalIdentity | undefined
    own.onReplaced((identity) => {
      now = identity
      void folder.load().then((kept) => seen.push([kept === identity, identity.privateKey.equals(before.privateKey)]))
    })
    await renew(options())
    await new Promise(setImmediate)
    assert.deepEqual(seen, [[true, false]])
    assert.equal(own.current(), now)
    assert.notEqual(own.current().serial, before.serial)
    assert.deepEqual(own.current().identity, before.identity)
    assert.equal(fromPem(own.current().certificatePem).length, 1)
  })

  for (const [name, answer] of [
    ["another name", async () => authorities.leaf({ role: "worker", name: "other", privateKey: await testKey(KEY) })],
    ["another tenant", async () => authorities.leaf({ role: "worker", tenant: "other", privateKey: await testKey(KEY) })],
    ["another key", async () => authorities.leaf({ role: "worker" })],
    ["a time that is over", async () => authorities.leaf({ role: "worker", privateKey: await testKey(KEY), notAfterMs: START_MS - 1_000 })],
  ] as const) {
    it(`keeps the old certificate when the answer is for ${name}`, async () => {
      const before = own.current()
      const wrong = toBase64url(await answer())
      await assert.rejects(renew(options({ send: async ({ csr }) => ({ ...await sign(csr), certificate: wrong }) })), (error) => error instanceof EkeyError)
      assert.equal(own.current(), before)
      assert.equal(await folder.load(), null)
    })
  }

  for (const [jitter, hours] of [[0, 4.5], [0.5, 5], [1 - Number.EPSILON, 5.5]] as const) {
    it(`comes at half of the certificate's life, ${String(hours)} of 10 h for the die ${jitter.toFixed(1)}`, async () => {
      random = jitter
      await keep()
      await pass(hours * HOUR_MS - 1_000)
      assert.equal(asked.length, 0)
      await pass(2_000)
      assert.equal(asked.length, 1)
      assert.ok(Math.abs((asked[0] ?? 0) - hours * HOUR_MS) <= 1_000)
    })
  }

  it("comes again at half of the new certificate's life", async () => {
    await keep()
    await pass(5 * HOUR_MS)
    assert.equal(asked.length, 1)
    await pass(5 * HOUR_MS - 1_000)
    assert.equal(asked.length, 1)
    await pass(2_000)
    assert.equal(asked.length, 2)
  })

  it("comes within a quarter of an hour of a wake from suspension", async () => {
    await keep()
    clock.jump(7 * HOUR_MS)
    await pass(15 * 60_000)
    assert.equal(asked.length, 1)
  })

  it("is tried again with backoff, from a minute to an hour, for as long as it takes", async () => {
    random = 0.5
    failures = Array.from({ length: 12 }, () => new EkeyError("ERR_AUTHORITY_UNAVAILABLE", "away"))
    await keep()
    await pass(5 * HOUR_MS)
    // A request takes real time to sign, in which no fake time may pass.
    while (asked.length < 12) await pass(60_000)
    const gaps = asked.map((at, index) => at - (asked[index - 1] ?? 0)).slice(1)
    assert.deepEqual(gaps.slice(0, 7).map((ms) => ms / 60_000), [1, 2, 4, 8, 16, 30, 30])
    assert.equal(log.of("certificate not renewed").length, 12)
    const { serial } = own.current()
    await pass(30 * 60_000)
    assert.equal(asked.length, 13)
    assert.notEqual(own.current().serial, serial)
  })

  it("goes on after the certificate has expired", async () => {
    failures = Array.from({ length: 40 }, () => new EkeyError("ERR_UNREACHABLE", "away"))
    await keep()
    for (let hour = 0; hour < 12; hour++) await pass(HOUR_MS)
    const before = asked.length
    assert.ok(clock.now() > own.current().notAfterMs)
    await pass(HOUR_MS)
    assert.ok(asked.length > before)
  })

  it("ends at once when stopped", async () => {
    await keep()
    stop.abort()
    await running
    assert.equal(clock.sleepers, 0)
  })
})
