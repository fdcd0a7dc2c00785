import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { issueRoot, toPem } from "../../src/crypto/x509.ts"
import { MAX_CLOCK_SKEW_MS, SESSION_MS } from "../../src/wire/limits.ts"
import { openSession } from "../../src/worker/session.ts"
import { flipBitOf } from "../support/bits.ts"
import { Custody } from "../support/custody.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../support/identities.ts"
import type { LeafOptions } from "../support/identities.ts"
import { connectPeers } from "../support/peer-pair.ts"

const HOUR_MS = 60 * 60_000

describe("The connector's sessions", () => {
  let custody: Custody

  beforeEach(async () => { custody = await Custody.open() })

  const refused = (attempt: Promise<unknown>, code: ErrorCode): Promise<void> => assert.rejects(attempt, { name: "EkeyError", code })
  /** An offer by a certificate that nobody may take. */
  const offerBy = async (options: Partial<LeafOptions>, authorities = custody.authorities): Promise<Parameters<typeof custody.table.open>[0]> => {
    const privateKey = await testKey(3)
    return await custody.offer({}, { privateKey, certificateDer: await authorities.leaf({ role: "worker", privateKey, ...options }) })
  }

  it("share two keys with the worker that offered, and with nobody else", async () => {
    const { near } = connectPeers(custody.clock, custody.handlers())
    const open = () => openSession({ peer: near, identity: custody.worker, revocations: custody.revocations, clock: custody.clock, deadlineMs: 1_000 })
    const [first, second] = [await open(), await open()]
    const kept = custody.table.find(first.id)
    assert.deepEqual(kept.keys.requestKey.export(), first.keys.requestKey.export())
    assert.deepEqual(kept.keys.releaseKey.export(), first.keys.releaseKey.export())
    assert.notDeepEqual(first.keys.requestKey.export(), second.keys.requestKey.export())
    assert.notEqual(first.id, second.id)
    assert.equal(kept.worker.identity.name, "worker-1")
  })

  describe("are refused to", () => {
    const rows: readonly (readonly [string, ErrorCode, Partial<LeafOptions>])[] = [
      ["an expired worker", "ERR_CERT_EXPIRED", { notAfterMs: Date.UTC(2026, 0, 1) }],
      ["a worker whose time has not come", "ERR_CERT_NOT_YET_VALID", { notBeforeMs: Date.UTC(2026, 0, 1) + 1_000 }],
      ["a worker of another tenant", "ERR_CERT_TENANT", { tenant: "globex" }],
      ["a connector of its own tenant", "ERR_CERT_ROLE", { role: "connector" }],
      ["a gateway", "ERR_CERT_ROLE", { role: "gateway" }],
      ["a worker whom the gateway authority signed", "ERR_CERT_ROLE", { signedBy: "gateway" }],
      ["a worker whom the connector authority signed", "ERR_CERT_ROLE", { signedBy: "connector" }],
      ["a worker of another trust domain", "ERR_CERT_MALFORMED", { uri: "spiffe://elsewhere.example/tenant/acme/worker/worker-1" }],
    ]
    for (const [who, code, options] of rows) {
      it(`${who}, with ${code}`, async () => { await refused(custody.table.open(await offerBy(options)), code) })
    }

    it("a worker of another authority, with ERR_CERT_AUTHORITY", async () => {
      await refused(custody.table.open(await offerBy({}, await mintAuthorities({ firstKey: 110 }))), "ERR_CERT_AUTHORITY")
    })

    it("a worker that signs for itself, with ERR_CERT_SELF_SIGNED", async () => {
      const privateKey = await testKey(3)
      const certificateDer = await issueRoot({
        privateKey, commonName: "worker-1", uri: `spiffe://${TRUST_DOMAIN}/tenant/acme/worker/worker-1`, serial: testSerial(),
        notBeforeMs: custody.clock.now() - 1_000, notAfterMs: custody.clock.now() + HOUR_MS,
      })
      await refused(custody.table.open(await custody.offer({}, { privateKey, certificateDer })), "ERR_CERT_SELF_SIGNED")
    })

    it("a revoked worker, with ERR_CERT_REVOKED", async () => {
      custody.revocations.apply(await custody.authorities.revocationList("worker", [custody.worker.serial]))
      await refused(custody.table.open(await custody.offer()), "ERR_CERT_REVOKED")
    })

    it("every worker while the authority's list is stale, with ERR_REVOCATION_STALE", async () => {
      custody.clock.jump(24 * HOUR_MS)
      await refused(custody.table.open(await custody.offer()), "ERR_REVOCATION_STALE")
    })

    it("bytes that are no certificate in its one encoding, with ERR_CERT_MALFORMED", async () => {
      const { certificateDer } = custody.worker
      for (const bytes of [randomBytes(800), certificateDer.subarray(0, -1), Buffer.concat([certificateDer, Buffer.of(0)]), Buffer.from(toPem(certificateDer))]) {
        await refused(custody.table.open(await custody.offer({ certificate: toBase64url(bytes) })), "ERR_CERT_MALFORMED")
      }
    })

    it("who has not the certificate's key, with ERR_SESSION_PROOF", async () => {
      await refused(custody.table.open(await custody.offer({}, { ...custody.worker, privateKey: await testKey(4) })), "ERR_SESSION_PROOF")
      const good = await custody.offer()
      for (let bit = 0; bit < 2048; bit += 61) await refused(custody.table.open({ ...good, signature: flipBitOf(good.signature, bit) }), "ERR_SESSION_PROOF")
      await refused(custody.table.open({ ...good, signature: toBase64url(Buffer.alloc(512)) }), "ERR_SESSION_PROOF")
    })

    it("a key that is none, with ERR_SESSION_PROOF", async () => {
      await refused(custody.table.open(await custody.offer({ kemPublicKey: toBase64url(Buffer.alloc(32)) })), "ERR_SESSION_PROOF")
    })

    it("everybody by an end without a tenant, with ERR_CERT_TENANT", async () => {
      custody.identity = await custody.authorities.identity({ role: "gateway" })
      await refused(custody.table.open(await custody.offer()), "ERR_CERT_TENANT")
    })
  })

  describe("by an offer", () => {
    const tooFar = MAX_CLOCK_SKEW_MS + 1

    it("that is up to 5 minutes off are opened, beyond that refused", async () => {
      const nowMs = custody.clock.now()
      for (const offMs of [-MAX_CLOCK_SKEW_MS, MAX_CLOCK_SKEW_MS]) await custody.table.open(await custody.offer({ issuedAtMs: nowMs + offMs }))
      for (const offMs of [-tooFar, tooFar]) await refused(custody.table.open(await custody.offer({ issuedAtMs: nowMs + offMs })), "ERR_SESSION_PROOF")
    })

    it("are opened once, and never again as long as the offer could be taken for a fresh one", async () => {
      const offer = await custody.offer({ issuedAtMs: custody.clock.now() + MAX_CLOCK_SKEW_MS }) // By a worker whose clock is ahead.
      await custody.table.open(offer)
      for (const laterMs of [0, 1, MAX_CLOCK_SKEW_MS, MAX_CLOCK_SKEW_MS - 1]) {
        custody.clock.jump(laterMs)
        await refused(custody.table.open(offer), "ERR_REPLAY")
      }
      custody.clock.jump(1)
      await refused(custody.table.open(offer), "ERR_SESSION_PROOF") // Now it is too old.
    })

    it("keep its nonce no longer than that", async () => {
      const offer = await custody.offer()
      await custody.table.open(offer)
      custody.clock.jump(2 * MAX_CLOCK_SKEW_MS + 1)
      await custody.table.open(await custody.offer({ nonce: offer.nonce }))
    })

    it("that was refused leave its nonce unused, so that nobody can use up another's", async () => {
      const offer = await custody.offer()
      await refused(custody.table.open({ ...offer, signature: flipBitOf(offer.signature, 0) }), "ERR_SESSION_PROOF")
      await custody.table.open(offer)
    })
  })

  describe("end", () => {
    it("after an hour, and not a millisecond before", async () => {
      const { session, expiresAtMs } = await custody.table.open(await custody.offer())
      assert.equal(expiresAtMs, custody.clock.now() + SESSION_MS)
      custody.clock.jump(SESSION_MS - 1)
      custody.table.find(session)
      custody.clock.jump(1)
      assert.throws(() => custody.table.find(session), { code: "ERR_SESSION" })
      custody.clock.jump(-1)
      assert.throws(() => custody.table.find(session), { code: "ERR_SESSION" }) // Once ended it does not come back.
    })

    it("with the worker's certificate and with the connector's, whichever is earlier", async () => {
      const soonMs = custody.clock.now() + 10 * 60_000
      const privateKey = await testKey(3)
      const brief = { privateKey, certificateDer: await custody.authorities.leaf({ role: "worker", privateKey, notAfterMs: soonMs }) }
      assert.equal((await custody.table.open(await custody.offer({}, brief))).expiresAtMs, soonMs)
      custody.identity = await custody.authorities.identity({ role: "connector", notAfterMs: soonMs - 60_000 })
      assert.equal((await custody.table.open(await custody.offer({}, brief))).expiresAtMs, soonMs - 60_000)
    })

    it("as soon as a list revokes their worker, and only theirs", async () => {
      const privateKey = await testKey(3)
      const other = await custody.authorities.identity({ role: "worker", name: "worker-2", privateKey })
      const { session: gone } = await custody.table.open(await custody.offer())
      const { session: kept } = await custody.table.open(await custody.offer({}, other))
      custody.revocations.apply(await custody.authorities.revocationList("worker", [custody.worker.serial]))
      assert.throws(() => custody.table.find(gone), { code: "ERR_SESSION" })
      custody.table.find(kept)
      assert.deepEqual(custody.log.fieldOf("session ended", "worker"), ["worker-1"])
    })

    it("when they never were", () => {
      assert.throws(() => custody.table.find(toBase64url(randomBytes(16))), { code: "ERR_SESSION" })
      assert.throws(() => custody.table.find("__proto__"), { code: "ERR_SESSION" })
    })

    it("when their worker opens too many: its own oldest gives way, and no other's", async () => {
      const privateKey = await testKey(3)
      const other = await custody.authorities.identity({ role: "worker", name: "worker-2", privateKey })
      const { session: others } = await custody.table.open(await custody.offer({}, other))
      const opened: string[] = []
      for (let count = 0; count < 65; count++) opened.push((await custody.table.open(await custody.offer())).session)
      const [oldest, ...rest] = opened
      assert.throws(() => custody.table.find(oldest ?? ""), { code: "ERR_SESSION" })
      for (const session of [...rest, others]) custody.table.find(session)
    })
  })

  it("show the certificate that the connector has now, after a renewal too", async () => {
    custody.identity = await custody.authorities.identity({ role: "connector" })
    const { certificate } = await custody.table.open(await custody.offer())
    assert.equal(certificate, toBase64url(custody.identity.certificateDer))
  })
})
