import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { bytesOf, toBase64url } from "../../src/base/bytes.ts"
import { EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { encapsulate } from "../../src/crypto/hpke.ts"
import { publicKeyOf, signPss, verifyPss } from "../../src/crypto/rsa.ts"
import { deriveSessionKeys, encodeOffer, encodeTranscript, SESSION_INFO } from "../../src/crypto/session-keys.ts"
import type { SessionKeys } from "../../src/crypto/session-keys.ts"
import { toPem } from "../../src/crypto/x509.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { SessionOpenParams, SessionOpenResult } from "../../src/wire/messages/session.ts"
import { openSession } from "../../src/worker/session.ts"
import type { WorkerSession } from "../../src/worker/session.ts"
import { flipBitOf, flipNumberBit } from "../support/bits.ts"
import { Custody } from "../support/custody.ts"
import { mintAuthorities, testKey } from "../support/identities.ts"
import type { LeafOptions } from "../support/identities.ts"
import { connectPeers } from "../support/peer-pair.ts"

const HOUR_MS = 60 * 60_000

type StandIn = Pick<LocalIdentity, "certificateDer" | "privateKey">

describe("A worker's session", () => {
  let custody: Custody
  /** What the custodian answers. Default: as the connector. */
  let answer: (params: SessionOpenParams) => Promise<SessionOpenResult>
  let offers: SessionOpenParams[]

  beforeEach(async () => {
    custody = await Custody.open()
    offers = []
    answer = (params) => custody.table.open(params)
  })

  const open = (identity = custody.worker): Promise<WorkerSession> => {
    const { near } = connectPeers(custody.clock, { "session.open": (params) => {
      offers.push(params)
      return answer(params)
    } })
    return openSession({ peer: near, identity, revocations: custody.revocations, clock: custody.clock, deadlineMs: 1_000 })
  }
  const refused = async (code: ErrorCode): Promise<void> => assert.rejects(open(), { name: "EkeyError", code })
  const changed = (change: (honest: SessionOpenResult) => Partial<SessionOpenResult>) => async (params: SessionOpenParams): Promise<SessionOpenResult> => {
    const honest = await custody.table.open(params)
    return { ...honest, ...change(honest) }
  }

  /** A whole handshake as any custodian could make it, with what it signs. */
  const answerAs = ({ certificateDer, privateKey }: StandIn, expiresAtMs = custody.clock.now() + HOUR_MS, keep: (keys: SessionKeys) => void = () => undefined) =>
    async (params: SessionOpenParams): Promise<SessionOpenResult> => {
      const { encapsulatedKey, exporter } = await encapsulate(bytesOf(params.kemPublicKey), SESSION_INFO)
      const session = randomBytes(16)
      const transcript = encodeTranscript(offerOf(params), bytesOf(params.signature), { session, certificate: certificateDer, encapsulatedKey, expiresAtMs })
      keep(await deriveSessionKeys(exporter, transcript))
      return {
        session: toBase64url(session), certificate: toBase64url(certificateDer), encapsulatedKey: toBase64url(encapsulatedKey), expiresAtMs,
        signature: toBase64url(await signPss(privateKey, transcript)),
      }
    }
  const offerOf = (params: SessionOpenParams): Buffer => encodeOffer({
    workerCertificate: bytesOf(params.certificate), kemPublicKey: bytesOf(params.kemPublicKey), nonce: bytesOf(params.nonce), issuedAtMs: params.issuedAtMs,
  })

  it("is offered with a fresh key and nonce each time, under the worker's signature", async () => {
    await open()
    await open()
    const [first, second] = offers
    assert.ok(first && second)
    assert.notEqual(first.kemPublicKey, second.kemPublicKey)
    assert.notEqual(first.nonce, second.nonce)
    for (const offer of offers) {
      assert.equal(offer.issuedAtMs, custody.clock.now())
      assert.deepEqual(bytesOf(offer.certificate), Buffer.from(custody.worker.certificateDer))
      assert.ok(verifyPss(publicKeyOf(custody.worker.privateKey), offerOf(offer), bytesOf(offer.signature)))
    }
  })

  it("has the custodian's keys, and names it", async () => {
    let theirs: SessionKeys | undefined
    answer = answerAs(custody.identity, undefined, (keys) => { theirs = keys })
    const session = await open()
    assert.deepEqual(session.keys.requestKey.export(), theirs?.requestKey.export())
    assert.deepEqual(session.keys.releaseKey.export(), theirs?.releaseKey.export())
    assert.equal(session.custodian.identity.name, "connector-1")
    assert.deepEqual([session.tenant, session.lastSequence], ["acme", 0])
  })

  it("ends with whichever ends first: what the custodian says, its certificate or the worker's", async () => {
    const nowMs = custody.clock.now()
    answer = answerAs(custody.identity, nowMs + 1_000)
    assert.equal((await open()).expiresAtMs, nowMs + 1_000)
    answer = answerAs(await custody.authorities.identity({ role: "connector", notAfterMs: nowMs + 60_000 }), nowMs + 400 * 24 * HOUR_MS)
    assert.equal((await open()).expiresAtMs, nowMs + 60_000)
    answer = answerAs(custody.identity, nowMs + 400 * 24 * HOUR_MS)
    assert.equal((await open(await custody.authorities.identity({ role: "worker", notAfterMs: nowMs + 30_000 }))).expiresAtMs, nowMs + 30_000)
  })

  it("is refused when any signed field was changed, with ERR_SESSION_PROOF", async () => {
    for (let bit = 0; bit < 256; bit += 17) {
      answer = changed(({ encapsulatedKey }) => ({ encapsulatedKey: flipBitOf(encapsulatedKey, bit) }))
      await refused("ERR_SESSION_PROOF")
    }
    for (let bit = 0; bit < 128; bit += 17) {
      answer = changed(({ session }) => ({ session: flipBitOf(session, bit) }))
      await refused("ERR_SESSION_PROOF")
    }
    for (let bit = 0; bit < 2048; bit += 173) {
      answer = changed(({ signature }) => ({ signature: flipBitOf(signature, bit) }))
      await refused("ERR_SESSION_PROOF")
    }
    answer = changed(({ expiresAtMs }) => ({ expiresAtMs: flipNumberBit(expiresAtMs, 20) }))
    await refused("ERR_SESSION_PROOF")
  })

  it("is refused when the custodian answers another offer, with ERR_SESSION_PROOF", async () => {
    const old = await custody.table.open(await custody.offer())
    answer = () => Promise.resolve(old)
    await refused("ERR_SESSION_PROOF")
    const changes: readonly (() => Partial<SessionOpenParams>)[] = [
      () => ({ nonce: toBase64url(randomBytes(16)) }), () => ({ issuedAtMs: 1 }), () => ({ signature: toBase64url(randomBytes(256)) }),
      () => ({ certificate: toBase64url(custody.identity.certificateDer) }),
    ]
    for (const change of changes) {
      answer = (params) => answerAs(custody.identity)({ ...params, ...change() })
      await refused("ERR_SESSION_PROOF")
    }
  })

  it("is refused when the encapsulated key is none, though it is signed", async () => {
    answer = async (params) => {
      const encapsulatedKey = Buffer.alloc(32)
      const session = randomBytes(16)
      const expiresAtMs = custody.clock.now() + HOUR_MS
      const { certificateDer, privateKey } = custody.identity
      const transcript = encodeTranscript(offerOf(params), bytesOf(params.signature), { session, certificate: certificateDer, encapsulatedKey, expiresAtMs })
      return {
        session: toBase64url(session), certificate: toBase64url(certificateDer), encapsulatedKey: toBase64url(encapsulatedKey), expiresAtMs,
        signature: toBase64url(await signPss(privateKey, transcript)),
      }
    }
    await refused("ERR_SESSION_PROOF")
  })

  describe("is refused with", () => {
    const rows: readonly (readonly [string, ErrorCode, Partial<LeafOptions>])[] = [
      ["a gateway", "ERR_CUSTODIAN", { role: "gateway" }],
      ["a worker", "ERR_CUSTODIAN", { role: "worker" }],
      ["a connector whom the gateway authority signed", "ERR_CUSTODIAN", { signedBy: "gateway" }],
      ["a connector whom the worker authority signed", "ERR_CUSTODIAN", { signedBy: "worker" }],
      ["another tenant's connector", "ERR_CERT_TENANT", { tenant: "globex" }],
      ["an expired connector", "ERR_CERT_EXPIRED", { notAfterMs: Date.UTC(2026, 0, 1) }],
      ["a connector whose time has not come", "ERR_CERT_NOT_YET_VALID", { notBeforeMs: Date.UTC(2026, 0, 1) + 1_000 }],
    ]
    for (const [who, code, options] of rows) {
      it(`${who}: ${code}`, async () => {
        const privateKey = await testKey(3)
        answer = answerAs({ privateKey, certificateDer: await custody.authorities.leaf({ role: "connector", privateKey, ...options }) })
        await refused(code)
      })
    }

    it("another authority's connector: ERR_CERT_AUTHORITY", async () => {
      answer = answerAs(await (await mintAuthorities({ firstKey: 110 })).identity({ role: "connector" }))
      await refused("ERR_CERT_AUTHORITY")
    })

    it("a revoked connector: ERR_CERT_REVOKED", async () => {
      custody.revocations.apply(await custody.authorities.revocationList("connector", [custody.identity.serial]))
      await refused("ERR_CERT_REVOKED")
    })

    it("any connector while its authority's list is stale: ERR_REVOCATION_STALE", async () => {
      answer = answerAs(custody.identity, custody.clock.now() + 48 * HOUR_MS)
      custody.clock.jump(24 * HOUR_MS)
      await refused("ERR_REVOCATION_STALE")
    })

    it("bytes that are no certificate in its one encoding: ERR_CERT_MALFORMED", async () => {
      const { certificateDer, privateKey } = custody.identity
      for (const bytes of [randomBytes(700), Buffer.from(toPem(certificateDer)), Buffer.concat([certificateDer, Buffer.of(0)]), certificateDer.subarray(0, 500)]) {
        answer = answerAs({ privateKey, certificateDer: bytes })
        await refused("ERR_CERT_MALFORMED")
      }
    })

    it("who has not the certificate's key: ERR_SESSION_PROOF", async () => {
      answer = answerAs({ certificateDer: custody.identity.certificateDer, privateKey: await testKey(3) })
      await refused("ERR_SESSION_PROOF")
    })
  })

  it("is not asked for by an end without a tenant", async () => {
    await assert.rejects(open(await custody.authorities.identity({ role: "gateway" })), { code: "ERR_CERT_TENANT" })
    assert.deepEqual(offers, [])
  })

  it("passes on what the other end says", async () => {
    answer = () => Promise.reject(new EkeyError("ERR_NO_CONNECTOR", "no connector is connected"))
    await refused("ERR_NO_CONNECTOR")
  })
})
