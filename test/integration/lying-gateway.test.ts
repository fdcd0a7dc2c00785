import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { setImmediate as nextTurn } from "node:timers/promises"
import { bytesOf, toBase64url } from "../../src/base/bytes.ts"
import { codeOf, EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { encapsulate } from "../../src/crypto/hpke.ts"
import { signPss } from "../../src/crypto/rsa.ts"
import { encodeOffer, encodeTranscript, SESSION_INFO } from "../../src/crypto/session-keys.ts"
import { issueRoot } from "../../src/crypto/x509.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { formatSpiffeId } from "../../src/wire/identity/spiffe.ts"
import { MAX_CLOCK_SKEW_MS, RELEASE_MS } from "../../src/wire/limits.ts"
import type { SessionOpenParams, SessionOpenResult } from "../../src/wire/messages/session.ts"
import type { ReleaseManyResult, ReleaseParams, ReleaseResult } from "../../src/wire/messages/release.ts"
import type { Operation, ReleasedEkey } from "../../src/worker/client.ts"
import { bitsOf, flipBitOf, flipNumberBit } from "../support/bits.ts"
import { mintAuthorities, testKey, testSerial, TRUST_DOMAIN } from "../support/identities.ts"
import { LyingGateway } from "../support/lying-gateway.ts"
import type { Lies } from "../support/lying-gateway.ts"
import type { TestConnector, TestWorker } from "../support/members.ts"

const ALICE = "alice@acme.example"
const BOB = "bob@acme.example"
const BACKUP = { product: "microsoft-365", workflow: "backup.scheduled" } as const

type Offer = Omit<SessionOpenParams, "deadlineMs">
type Request = Omit<ReleaseParams, "deadlineMs">

/** Who may stand in for a custodian: a certificate, and a key that may or may not be its own. */
type StandIn = Pick<LocalIdentity, "certificateDer" | "privateKey">

/** A whole, well-made answer to an offer, as a connector would give it. */
async function answerAs({ certificateDer, privateKey }: StandIn, offer: Offer, expiresAtMs: number): Promise<SessionOpenResult> {
  const { encapsulatedKey } = await encapsulate(bytesOf(offer.kemPublicKey), SESSION_INFO)
  const session = randomBytes(16)
  const transcript = encodeTranscript(offerBytes(offer), bytesOf(offer.signature), { session, certificate: certificateDer, encapsulatedKey, expiresAtMs })
  return {
    session: toBase64url(session), certificate: toBase64url(certificateDer), encapsulatedKey: toBase64url(encapsulatedKey), expiresAtMs,
    signature: toBase64url(await signPss(privateKey, transcript)),
  }
}

function offerBytes(offer: Offer): Buffer {
  return encodeOffer({
    workerCertificate: bytesOf(offer.certificate), kemPublicKey: bytesOf(offer.kemPublicKey), nonce: bytesOf(offer.nonce), issuedAtMs: offer.issuedAtMs,
  })
}

function codeOfOutcome(outcome: PromiseSettledResult<unknown>): ErrorCode | "released" | undefined {
  return outcome.status === "fulfilled" ? "released" : codeOf(outcome.reason)
}

/** Waits for a second request, and lets `swap` answer each in knowledge of both. */
function pairUp<P, R>(swap: (own: P, other: P, ask: (params: P) => Promise<R>) => Promise<R>) {
  const waiting: { params: P; resolve: (other: P) => void }[] = []
  return (params: P, ask: (params: P) => Promise<R>): Promise<R> => new Promise((resolve, reject) => {
    const first = waiting.pop()
    if (!first) {
      waiting.push({ params, resolve: (other) => { swap(params, other, ask).then(resolve, reject) } })
      return
    }
    first.resolve(params)
    swap(params, first.params, ask).then(resolve, reject)
  })
}

describe("A gateway that lies between worker and connector", () => {
  let liar: LyingGateway
  let connector: TestConnector
  let worker: TestWorker
  let operation: Operation

  before(async () => {
    liar = await LyingGateway.open()
    connector = await liar.connector([ALICE, BOB])
    worker = await liar.members.worker()
  })
  after(async () => { await liar.close() })

  beforeEach(async () => {
    liar.lies = {}
    operation = await worker.client.begin(BACKUP)
  })

  const refused = (attempt: Promise<unknown>, code: ErrorCode): Promise<void> => assert.rejects(attempt, { name: "EkeyError", code })

  /** Nothing must come out of it but that error, and it must be `end` that saw through the lie. */
  const failsAt = async (end: "worker" | "connector", attempt: () => Promise<unknown>, lies: Lies, code: ErrorCode): Promise<void> => {
    liar.said.length = 0
    liar.lies = lies
    await refused(attempt(), code)
    assert.equal(liar.said.includes(code), end === "connector")
  }

  /** One release under these lies, which the worker sees through. */
  const workerRefuses = (lies: Lies, code: ErrorCode): Promise<void> => failsAt("worker", () => operation.release(ALICE), lies, code)
  /** One release under these lies, which the connector sees through. */
  const connectorRefuses = (lies: Lies, code: ErrorCode): Promise<void> => failsAt("connector", () => operation.release(ALICE), lies, code)

  /** What came out is what the connector holds. */
  const isEkeyOf = async (user: string, released: ReleasedEkey | null): Promise<void> => {
    const expected = await connector.ekeyOf(user)
    assert.equal(released?.user, user)
    assert.ok(await released.ekey.consume((bytes) => expected.equals(bytes)))
  }

  it("that tells the truth gets every ekey to its worker", async () => {
    await isEkeyOf(ALICE, await operation.release(ALICE))
    await isEkeyOf(BOB, await operation.release(BOB, { version: 1 }))
    const [alice, bob] = await operation.releaseMany([ALICE, BOB])
    await isEkeyOf(ALICE, alice ?? null)
    await isEkeyOf(BOB, bob ?? null)
  })

  describe("about a sealed ekey", () => {
    it("can't swap two users' ekeys", async () => {
      const answers = new Map<number, Promise<ReleaseResult>>()
      liar.lies = { "ekey.release": pairUp(async (own, other, ask) => {
        answers.set(own.sequence, ask(own))
        await nextTurn() // The connector has been asked both.
        return await (answers.get(other.sequence) ?? assert.fail())
      }) }
      const outcomes = await Promise.allSettled([operation.release(ALICE), operation.release(BOB)])
      assert.deepEqual(outcomes.map(codeOfOutcome), ["ERR_DECRYPT", "ERR_DECRYPT"])
    })

    it("can't replay an answer of before, not even for the same user", async () => {
      let kept: ReleaseResult | undefined
      liar.lies = { "ekey.release": async (params, ask) => kept = await ask(params) }
      await isEkeyOf(ALICE, await operation.release(ALICE))
      const old = kept ?? assert.fail()
      await workerRefuses({ "ekey.release": async () => old }, "ERR_DECRYPT")
      await workerRefuses({ "ekey.release": async (params, ask) => ({ ...await ask(params), sealed: old.sealed }) }, "ERR_DECRYPT")
    })

    it("can't change any bit of it", async function () {
      this.timeout(60_000)
      for (let bit = 0; bit < 48 * 8; bit++) {
        await workerRefuses({ "ekey.release": async (params, ask) => {
          const answer = await ask(params)
          assert.equal(bitsOf(answer.sealed), 48 * 8)
          return { ...answer, sealed: flipBitOf(answer.sealed, bit) }
        } }, "ERR_DECRYPT")
      }
    })

    it("can't change any bit of its version", async () => {
      for (let bit = 1; bit < 32; bit++) {
        await workerRefuses({ "ekey.release": async (params, ask) => {
          const answer = await ask(params)
          return { ...answer, version: flipNumberBit(answer.version, bit) }
        } }, "ERR_DECRYPT")
      }
    })

    it("can't change any bit of its expiry", async () => {
      const expiresAtMs = liar.clock.now() + RELEASE_MS
      for (let bit = 0; bit < 52; bit++) {
        const changed = flipNumberBit(expiresAtMs, bit)
        await workerRefuses(
          { "ekey.release": async (params, ask) => ({ ...await ask(params), expiresAtMs: changed }) },
          changed + MAX_CLOCK_SKEW_MS < liar.clock.now() ? "ERR_DEADLINE" : "ERR_DECRYPT",
        )
      }
    })

    it("can't shorten or lengthen it", async () => {
      for (const bytes of [0, 16, 47, 49]) {
        // A link that gets five answers outside the protocol is ended: each change has its own.
        const own = await liar.members.worker({ name: `short-${bytes}` })
        liar.lies = { "ekey.release": async (params, ask) => {
          const answer = await ask(params)
          return { ...answer, sealed: toBase64url(Buffer.concat([bytesOf(answer.sealed), Buffer.alloc(8)]).subarray(0, bytes)) }
        } }
        await refused((await own.client.begin(BACKUP)).release(ALICE), "ERR_FRAME")
        await own.stop()
      }
    })

    it("can't answer with another version than was asked for", async () => {
      liar.lies = { "ekey.release": async (params, ask) => ({ ...await ask(params), version: 2 }) }
      await refused(operation.release(ALICE, { version: 1 }), "ERR_DECRYPT")
    })

    it("can't hold it back beyond the deadline", async () => {
      await operation.release(ALICE) // Opens the session.
      const { promise: held, resolve: hold } = Promise.withResolvers<undefined>()
      const { promise: released, resolve: letGo } = Promise.withResolvers<undefined>()
      liar.lies = { "ekey.release": async (params, ask) => {
        const answer = await ask(params)
        hold(undefined)
        await released
        return answer
      } }
      const late = operation.release(ALICE, { deadlineMs: 500 })
      const outcome = refused(late, "ERR_DEADLINE")
      await held
      await liar.clock.tick(500)
      await outcome
      letGo(undefined)
      liar.lies = {}
      await isEkeyOf(BOB, await operation.release(BOB)) // The late answer is nobody's.
    })

    it("can't hold it back beyond its expiry on a machine that was asleep", async () => {
      await operation.release(ALICE)
      liar.lies = { "ekey.release": async (params, ask) => {
        const answer = await ask(params)
        liar.clock.jump(RELEASE_MS + MAX_CLOCK_SKEW_MS + 1)
        return answer
      } }
      await refused(operation.release(ALICE), "ERR_DEADLINE")
      liar.clock.jump(-(RELEASE_MS + MAX_CLOCK_SKEW_MS + 1))
    })
  })

  describe("about a request", () => {
    it("can't repeat one at the connector", async () => {
      let second: Promise<unknown> | undefined
      liar.lies = { "ekey.release": async (params, ask) => {
        const answer = await ask(params)
        second = ask(params)
        await second.catch(() => undefined)
        return answer
      } }
      await isEkeyOf(ALICE, await operation.release(ALICE))
      await refused(second ?? assert.fail(), "ERR_REPLAY")
    })

    it("can't put a later one before an earlier one", async () => {
      liar.lies = { "ekey.release": pairUp(async (own, other, ask) => {
        const isLater = own.sequence > other.sequence
        if (!isLater) await nextTurn()
        return await ask(own)
      }) }
      const [earlier, later] = await Promise.allSettled([operation.release(ALICE), operation.release(BOB)])
      assert.equal(codeOfOutcome(earlier), "ERR_REPLAY")
      assert.ok(later.status === "fulfilled")
      await isEkeyOf(BOB, later.value)
    })

    const changes: readonly (readonly [string, (request: Request) => Partial<Request>])[] = [
      ["the user", () => ({ user: BOB })],
      ["the workflow", () => ({ workflow: "backup.manual" })],
      ["the operation", () => ({ operation: toBase64url(randomBytes(16)) })],
      ["the sequence", ({ sequence }) => ({ sequence: sequence + 1 })],
      ["the reason", () => ({ reason: "asked by an admin" })],
      ["the version", () => ({ version: 1 })],
    ]
    for (const [what, change] of changes) {
      it(`can't change ${what}`, async () => {
        await connectorRefuses({ "ekey.release": (params, ask) => ask({ ...params, ...change(params) }) }, "ERR_SESSION_PROOF")
      })
    }

    it("can't change any bit of its proof", async function () {
      this.timeout(30_000)
      for (let bit = 0; bit < 256; bit++) {
        await connectorRefuses({ "ekey.release": (params, ask) => ask({ ...params, proof: flipBitOf(params.proof, bit) }) }, "ERR_SESSION_PROOF")
      }
    })

    it("can't move it to another session of the connector, older or another worker's", async () => {
      const sessions: string[] = []
      liar.lies = { "session.open": async (params, ask) => {
        const answer = await ask(params)
        sessions.push(answer.session)
        return answer
      } }
      for (const name of ["worker-1", "worker-2"]) {
        const other = await liar.members.worker({ name })
        await (await other.client.begin(BACKUP)).release(ALICE)
        await other.stop()
      }
      for (const session of sessions) {
        await connectorRefuses({ "ekey.release": (params, ask) => ask({ ...params, session }) }, "ERR_SESSION_PROOF")
      }
      assert.equal(sessions.length, 2)
    })

    it("can't send it to a session that the connector does not have", async () => {
      let asked = 0
      await connectorRefuses({ "ekey.release": (params, ask) => {
        asked += 1
        return ask({ ...params, session: toBase64url(randomBytes(16)) })
      } }, "ERR_SESSION")
      assert.equal(asked, 2) // The client opened one new session, and no more.
    })

    it("can't make one by itself", async () => {
      await operation.release(ALICE)
      await connectorRefuses({ "ekey.release": async (params, ask) => {
        const made: Request = { ...params, sequence: params.sequence + 1, user: BOB, proof: toBase64url(randomBytes(32)) }
        return await ask(made)
      } }, "ERR_SESSION_PROOF")
      await isEkeyOf(ALICE, await (liar.lies = {}, operation.release(ALICE))) // What it tried left no trace in the session.
    })
  })

  describe("about a bulk", () => {
    const bulkFailsAt = (end: "worker" | "connector", lies: Lies, code: ErrorCode): Promise<void> =>
      failsAt(end, () => operation.releaseMany([ALICE, BOB]), lies, code)

    it("can't change the order, the number or the names of its users", async () => {
      for (const users of [[BOB, ALICE], [ALICE], [ALICE, BOB, BOB], [BOB, BOB]]) {
        await bulkFailsAt("connector", { "ekey.releaseMany": (params, ask) => ask({ ...params, users }) }, "ERR_SESSION_PROOF")
      }
    })

    it("can't move users between two bulks by swapping their answers", async () => {
      const answers = new Map<number, Promise<ReleaseManyResult>>()
      liar.lies = { "ekey.releaseMany": pairUp(async (own, other, ask) => {
        answers.set(own.sequence, ask(own))
        await nextTurn()
        return await (answers.get(other.sequence) ?? assert.fail())
      }) }
      const outcomes = await Promise.allSettled([operation.releaseMany([ALICE]), operation.releaseMany([BOB])])
      assert.deepEqual(outcomes.map(codeOfOutcome), ["ERR_DECRYPT", "ERR_DECRYPT"])
    })

    it("can't reorder, cut off or add sealed items", async () => {
      const item = 37
      const cuts: readonly ((sealed: Buffer) => Buffer)[] = [
        (sealed) => Buffer.concat([sealed.subarray(item, 2 * item), sealed.subarray(0, item), sealed.subarray(2 * item)]),
        (sealed) => sealed.subarray(item),
        (sealed) => Buffer.concat([sealed.subarray(0, item), sealed.subarray(2 * item)]),
        (sealed) => Buffer.concat([sealed.subarray(0, item), sealed]),
        (sealed) => sealed.subarray(0, -1),
        (sealed) => sealed.subarray(0, 1),
        (sealed) => Buffer.concat([sealed, Buffer.alloc(1)]),
      ]
      for (const cut of cuts) {
        await bulkFailsAt("worker", { "ekey.releaseMany": async (params, ask) => {
          const answer = await ask(params)
          return { ...answer, sealed: toBase64url(cut(bytesOf(answer.sealed))) }
        } }, "ERR_DECRYPT")
      }
    })

    it("can't change any bit of it", async function () {
      this.timeout(60_000)
      for (let bit = 0; bit < (2 * 37 + 16) * 8; bit++) {
        await bulkFailsAt("worker", { "ekey.releaseMany": async (params, ask) => {
          const answer = await ask(params)
          return { ...answer, sealed: flipBitOf(answer.sealed, bit) }
        } }, "ERR_DECRYPT")
      }
    })

    it("can't repeat it at the connector, nor pass a single answer off as one", async () => {
      let single: ReleaseResult | undefined
      liar.lies = { "ekey.release": async (params, ask) => single = await ask(params) }
      await operation.release(ALICE)
      const { sealed, expiresAtMs } = single ?? assert.fail()
      await bulkFailsAt("worker", { "ekey.releaseMany": async () => ({ sealed, expiresAtMs }) }, "ERR_DECRYPT")
      await bulkFailsAt("connector", { "ekey.releaseMany": async (params, ask) => {
        await ask(params)
        return await ask(params)
      } }, "ERR_REPLAY")
    })
  })

  describe("about who answers session.open", () => {
    let offering: TestWorker
    let names = 0

    // Each attempt needs a client that has no session yet.
    beforeEach(async () => {
      names += 1
      offering = await liar.members.worker({ name: `offering-${names}`, privateKey: await testKey(2) })
      operation = await offering.client.begin(BACKUP)
    })
    afterEach(async () => { await offering.stop() })

    const HOUR_MS = 60 * 60_000
    const opensAs = (standIn: StandIn, code: ErrorCode): Promise<void> =>
      workerRefuses({ "session.open": (params) => answerAs(standIn, params, liar.clock.now() + HOUR_MS) }, code)

    it("is believed when it is the connector itself", async () => {
      liar.lies = { "session.open": (params) => answerAs(connector.identity, params, liar.clock.now() + HOUR_MS) }
      // Made with the connector's own key, so the handshake holds; the session is one that it does not have.
      await refused(operation.release(ALICE), "ERR_SESSION")
    })

    it("can't be itself", async () => {
      await opensAs(liar.identity, "ERR_CUSTODIAN")
    })

    it("can't be a worker, nor whatever its own authority vouches for", async () => {
      const { authorities } = liar
      await opensAs(await liar.members.identity("worker", { name: "worker-9" }), "ERR_CUSTODIAN")
      const privateKey = await testKey(3)
      for (const signedBy of ["gateway", "worker"] as const) {
        await opensAs({ privateKey, certificateDer: await authorities.leaf({ role: "connector", signedBy, privateKey }) }, "ERR_CUSTODIAN")
      }
    })

    it("can't be another tenant's connector", async () => {
      await opensAs(await liar.members.identity("connector", { tenant: "globex" }), "ERR_CERT_TENANT")
    })

    it("can't be relayed to another tenant's connector", async () => {
      await liar.connector([ALICE], { tenant: "globex" })
      let asked: Promise<SessionOpenResult> | undefined
      liar.lies = { "session.open": (offer) => asked = liar.connectorPeer("globex").call("session.open", offer, 1_000) }
      await refused(operation.release(ALICE), "ERR_CERT_TENANT")
      await refused(asked ?? assert.fail(), "ERR_CERT_TENANT") // It is that connector that sees it first.
    })

    it("can't be made up", async () => {
      const privateKey = await testKey(4)
      const uri = formatSpiffeId({ trustDomain: TRUST_DOMAIN, role: "connector", tenant: "acme", name: "connector-1" })
      const validity = { notBeforeMs: liar.clock.now() - 1_000, notAfterMs: liar.clock.now() + HOUR_MS }
      await opensAs({ privateKey, certificateDer: await issueRoot({ ...validity, privateKey, commonName: "connector-1", uri, serial: testSerial() }) }, "ERR_CERT_SELF_SIGNED")
      const foreign = await mintAuthorities({ firstKey: 110 })
      await opensAs({ privateKey, certificateDer: await foreign.leaf({ role: "connector", privateKey }) }, "ERR_CERT_AUTHORITY")
      await opensAs({ privateKey, certificateDer: randomBytes(900) }, "ERR_CERT_MALFORMED")
      // The connector's own certificate, which the liar has seen, without its key.
      await opensAs({ privateKey, certificateDer: connector.identity.certificateDer }, "ERR_SESSION_PROOF")
      await opensAs({ privateKey: liar.identity.privateKey, certificateDer: connector.identity.certificateDer }, "ERR_SESSION_PROOF")
    })

    it("can't be a connector whose time is over or has not come, or that was revoked", async () => {
      const nowMs = liar.clock.now()
      await opensAs(await liar.members.identity("connector", { name: "old", notAfterMs: nowMs }), "ERR_CERT_EXPIRED")
      await opensAs(await liar.members.identity("connector", { name: "new", notBeforeMs: nowMs + 1_000 }), "ERR_CERT_NOT_YET_VALID")
      const gone = await liar.members.identity("connector", { name: "gone" })
      await liar.publish(await liar.signLists({ connector: [gone.serial] }))
      await opensAs(gone, "ERR_CERT_REVOKED")
    })

    it("can't be any connector while the gateway keeps the authority's lists back", async () => {
      liar.clock.jump(24 * HOUR_MS - 60_000)
      const late = await liar.members.worker({ name: "late", notAfterMs: liar.clock.now() + 48 * HOUR_MS })
      operation = await late.client.begin(BACKUP)
      liar.clock.jump(60_000)
      const standIn = await liar.members.identity("connector", { notAfterMs: liar.clock.now() + HOUR_MS })
      await opensAs(standIn, "ERR_REVOCATION_STALE")
      await late.stop()
      liar.clock.jump(-24 * HOUR_MS)
    })
  })

  describe("about the handshake", () => {
    // A client without a session tries again with each release.
    let offering: TestWorker
    before(async () => { offering = await liar.members.worker({ name: "handshaker" }) })
    beforeEach(async () => { operation = await offering.client.begin(BACKUP) })

    const answerChangedFails = (change: (answer: SessionOpenResult) => Partial<SessionOpenResult>, code: ErrorCode): Promise<void> =>
      workerRefuses({ "session.open": async (params, ask) => {
        const answer = await ask(params)
        return { ...answer, ...change(answer) }
      } }, code)

    it("can't change any bit of the encapsulated key, the session's id or its end", async function () {
      this.timeout(120_000)
      for (let bit = 0; bit < 256; bit++) {
        await answerChangedFails(({ encapsulatedKey }) => ({ encapsulatedKey: flipBitOf(encapsulatedKey, bit) }), "ERR_SESSION_PROOF")
      }
      for (let bit = 0; bit < 128; bit++) {
        await answerChangedFails(({ session }) => ({ session: flipBitOf(session, bit) }), "ERR_SESSION_PROOF")
      }
      for (let bit = 0; bit < 52; bit++) {
        await answerChangedFails(({ expiresAtMs }) => ({ expiresAtMs: flipNumberBit(expiresAtMs, bit) }), "ERR_SESSION_PROOF")
      }
    })

    it("can't change the connector's signature, or leave it away", async () => {
      for (let bit = 0; bit < 2048; bit += 97) {
        await answerChangedFails(({ signature }) => ({ signature: flipBitOf(signature, bit) }), "ERR_SESSION_PROOF")
      }
      await answerChangedFails(() => ({ signature: toBase64url(Buffer.alloc(1)) }), "ERR_SESSION_PROOF")
    })

    it("can't change the connector's certificate, nor write anything behind it", async () => {
      const length = connector.identity.certificateDer.length
      for (let bit = 0; bit < length * 8; bit += 211) {
        liar.lies = { "session.open": async (params, ask) => {
          const answer = await ask(params)
          return { ...answer, certificate: flipBitOf(answer.certificate, bit) }
        } }
        await assert.rejects(operation.release(ALICE), (error) => error instanceof EkeyError && /^ERR_(CERT_|CUSTODIAN|SESSION_PROOF)/.test(error.code))
      }
      await answerChangedFails(({ certificate }) => ({ certificate: toBase64url(Buffer.concat([bytesOf(certificate), Buffer.alloc(3)])) }), "ERR_CERT_MALFORMED")
    })

    it("can't answer with the answer to an earlier offer", async () => {
      let kept: SessionOpenResult | undefined
      const first = await liar.members.worker({ name: "first" })
      liar.lies = { "session.open": async (params, ask) => kept = await ask(params) }
      await (await first.client.begin(BACKUP)).release(ALICE)
      const old = kept ?? assert.fail()
      await workerRefuses({ "session.open": async () => old }, "ERR_SESSION_PROOF")
    })

    it("can't repeat an offer at the connector", async () => {
      await connectorRefuses({ "session.open": async (params, ask) => {
        await ask(params)
        return await ask(params)
      } }, "ERR_REPLAY")
    })

    it("can't keep an offer for later", async () => {
      let kept: Offer | undefined
      await workerRefuses({ "session.open": async (params) => {
        kept = params
        throw new EkeyError("ERR_NO_CONNECTOR", "no connector is connected")
      } }, "ERR_NO_CONNECTOR")
      const offer = kept ?? assert.fail()
      liar.clock.jump(MAX_CLOCK_SKEW_MS + 1)
      await refused(liar.connectorPeer().call("session.open", offer, 1_000), "ERR_SESSION_PROOF")
      liar.clock.jump(-MAX_CLOCK_SKEW_MS - 1)
    })

    it("can't change any bit of the worker's key, nonce or time", async function () {
      this.timeout(120_000)
      const offerChangedFails = (change: (offer: Offer) => Partial<Offer>): Promise<void> =>
        connectorRefuses({ "session.open": (params, ask) => ask({ ...params, ...change(params) }) }, "ERR_SESSION_PROOF")
      for (let bit = 0; bit < 256; bit++) await offerChangedFails(({ kemPublicKey }) => ({ kemPublicKey: flipBitOf(kemPublicKey, bit) }))
      for (let bit = 0; bit < 128; bit++) await offerChangedFails(({ nonce }) => ({ nonce: flipBitOf(nonce, bit) }))
      for (let bit = 0; bit < 52; bit++) await offerChangedFails(({ issuedAtMs }) => ({ issuedAtMs: flipNumberBit(issuedAtMs, bit) }))
      for (let bit = 0; bit < 2048; bit += 97) await offerChangedFails(({ signature }) => ({ signature: flipBitOf(signature, bit) }))
    })

    it("can't put its own key into a worker's offer", async () => {
      await connectorRefuses({ "session.open": async (params, ask) => {
        const changed = { ...params, kemPublicKey: toBase64url(randomBytes(32)) }
        return await ask({ ...changed, signature: toBase64url(await signPss(liar.identity.privateKey, offerBytes(changed))) })
      } }, "ERR_SESSION_PROOF")
    })

    it("can't open a session of its own", async () => {
      await connectorRefuses({ "session.open": async (params, ask) => {
        const own = { ...params, certificate: toBase64url(liar.identity.certificateDer), nonce: toBase64url(randomBytes(16)) }
        return await ask({ ...own, signature: toBase64url(await signPss(liar.identity.privateKey, offerBytes(own))) })
      } }, "ERR_CERT_ROLE")
    })

    it("can't have another worker sign a worker's key as its own", async () => {
      const mallory = await liar.members.identity("worker", { name: "mallory" })
      const bound: string[] = []
      await workerRefuses({ "session.open": async (params, ask) => {
        const stolen = { ...params, certificate: toBase64url(mallory.certificateDer) }
        const answer = await ask({ ...stolen, signature: toBase64url(await signPss(mallory.privateKey, offerBytes(stolen))) })
        bound.push(answer.session) // The connector takes it for Mallory's, who has not the key that was offered.
        return answer
      } }, "ERR_SESSION_PROOF")
      assert.equal(bound.length, 1)
      // Without Mallory's signature the connector sees it at once.
      await connectorRefuses({ "session.open": (params, ask) => ask({ ...params, certificate: toBase64url(mallory.certificateDer) }) }, "ERR_SESSION_PROOF")
    })
  })
})
