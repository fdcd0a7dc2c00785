import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { bytesOf, toBase64url } from "../../src/base/bytes.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { createPolicy } from "../../src/connector/policy.ts"
import type { PolicyRequest } from "../../src/connector/policy.ts"
import { decodeBulkItems, encodeBulkRequest, encodeSingleRequest, openRelease, proveRequest } from "../../src/crypto/session-release.ts"
import { RELEASE_MS } from "../../src/wire/limits.ts"
import type { ReleaseManyParams, ReleaseManyResult, ReleaseParams, ReleaseResult } from "../../src/wire/messages/release.ts"
import { openSession } from "../../src/worker/session.ts"
import type { WorkerSession } from "../../src/worker/session.ts"
import { flipBitOf } from "../support/bits.ts"
import { Custody } from "../support/custody.ts"
import { connectPeers } from "../support/peer-pair.ts"

const ALICE = "alice@acme.example"
const BOB = "bob@acme.example"
const OPERATION = toBase64url(randomBytes(16))
const HOUR_MS = 60 * 60_000

type Changes = Partial<Omit<ReleaseParams, "proof">>

describe("The connector's releases", () => {
  let custody: Custody
  let session: WorkerSession
  let alice: Buffer

  beforeEach(async () => {
    custody = await Custody.open()
    alice = await custody.addEkey(ALICE)
    const { near } = connectPeers(custody.clock, custody.handlers())
    session = await openSession({ peer: near, identity: custody.worker, revocations: custody.revocations, clock: custody.clock, deadlineMs: 1_000 })
  })

  const refused = (attempt: Promise<unknown>, code: ErrorCode): Promise<void> => assert.rejects(attempt, { name: "EkeyError", code })

  const encode = (params: Omit<ReleaseParams, "proof" | "deadlineMs">): Buffer => encodeSingleRequest({
    session: bytesOf(params.session), sequence: params.sequence, tenant: "acme", operation: bytesOf(params.operation), workflow: params.workflow,
    reason: params.reason, user: params.user, version: params.version ?? 0,
  })
  /** A proved request; the next in sequence unless told otherwise. */
  const request = (changes: Changes = {}): ReleaseParams => {
    const params = {
      operation: OPERATION, session: session.id, sequence: changes.sequence ?? ++session.lastSequence, workflow: "backup.scheduled" as const, reason: "",
      user: ALICE, version: null, deadlineMs: 1_000, ...changes,
    }
    return { ...params, proof: toBase64url(proveRequest(session.keys.requestKey, encode(params))) }
  }
  const bulk = (users: string[]): ReleaseManyParams => {
    const params = { operation: OPERATION, session: session.id, sequence: ++session.lastSequence, workflow: "backup.scheduled" as const, reason: "", users, deadlineMs: 1_000 }
    return { ...params, proof: toBase64url(proveRequest(session.keys.requestKey, encodeBulk(params))) }
  }
  const encodeBulk = (params: Omit<ReleaseManyParams, "proof" | "deadlineMs">): Buffer =>
    encodeBulkRequest({ ...params, session: session.idBytes, tenant: "acme", operation: bytesOf(params.operation) })
  const opened = (params: ReleaseParams, answer: ReleaseResult): Buffer =>
    openRelease(session.keys.releaseKey, params.sequence, encode(params), answer, bytesOf(answer.sealed))
  const openedBulk = (params: ReleaseManyParams, { sealed, expiresAtMs }: ReleaseManyResult): (Buffer | null)[] =>
    decodeBulkItems(openRelease(session.keys.releaseKey, params.sequence, encodeBulk(params), { version: 0, expiresAtMs }, bytesOf(sealed)), params.users.length)
      .map(({ ekey }) => ekey && Buffer.from(ekey))

  const release = async (changes: Changes = {}): Promise<Buffer> => {
    const params = request(changes)
    return opened(params, await custody.releaser.release(params))
  }

  it("give the newest version, or the one that was asked for", async () => {
    const second = await custody.addEkey(ALICE, { version: 2 })
    assert.deepEqual(await release(), second)
    assert.deepEqual(await release({ version: 1 }), alice)
    assert.deepEqual(await release({ version: 2 }), second)
    const params = request()
    const answer = await custody.releaser.release(params)
    assert.deepEqual([answer.version, answer.expiresAtMs], [2, custody.clock.now() + RELEASE_MS])
  })

  it("are one answer to each sequence, which may leave gaps and never goes back", async () => {
    await release({ sequence: 5 })
    for (const sequence of [5, 4, 1]) await refused(release({ sequence }), "ERR_REPLAY")
    await release({ sequence: 1_000_000 })
    await refused(release({ sequence: 999_999 }), "ERR_REPLAY")
    await release({ sequence: 1_000_001 })
  })

  it("count a bulk and a single request in one sequence", async () => {
    const params = bulk([ALICE])
    await custody.releaser.releaseMany(params)
    await refused(release({ sequence: params.sequence }), "ERR_REPLAY")
    await refused(custody.releaser.releaseMany(params), "ERR_REPLAY")
  })

  it("answer one sequence once, also when two requests come at the same time", async () => {
    const params = request()
    const outcomes = await Promise.allSettled([custody.releaser.release(params), custody.releaser.release(params)])
    assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected"])
    // A denied one is used up too: whatever is sealed under a sequence, it is sealed once.
    const denied = request({ user: BOB })
    await refused(custody.releaser.release(denied), "ERR_DENIED")
    await refused(release({ sequence: denied.sequence }), "ERR_REPLAY")
  })

  it("are refused without the session's proof, and leave the sequence as it was", async () => {
    const good = request()
    await refused(custody.releaser.release({ ...good, proof: flipBitOf(good.proof, 17) }), "ERR_SESSION_PROOF")
    const changes: readonly Partial<ReleaseParams>[] = [
      { sequence: good.sequence + 100 }, { user: BOB }, { version: 1 }, { workflow: "backup.manual" }, { reason: "other" }, { operation: toBase64url(randomBytes(16)) },
    ]
    for (const change of changes) await refused(custody.releaser.release({ ...good, ...change }), "ERR_SESSION_PROOF")
    assert.deepEqual(opened(good, await custody.releaser.release(good)), alice)
  })

  it("look the same for an unknown user, an unknown version and a denied workflow", async () => {
    const attempts = [request({ user: BOB }), request({ version: 9 }), request({ workflow: "restore.admin.copy" }), request({ user: BOB, workflow: "restore.admin.copy" })]
    const errors: unknown[] = []
    for (const params of attempts) {
      const [outcome] = await Promise.allSettled([custody.releaser.release(params)])
      assert.ok(outcome.status === "rejected" && outcome.reason instanceof Error)
      errors.push(Object.fromEntries(["name", "code", "message", "cause", "retryable"].map((name) => [name, Reflect.get(outcome.reason as object, name)])))
    }
    for (const error of errors) assert.deepEqual(error, { name: "EkeyError", code: "ERR_DENIED", message: "not released", cause: undefined, retryable: false })
  })

  it("look into the store for a denied user too, so that the time taken tells nothing", async () => {
    const asked: string[] = []
    const { store } = custody
    const readLatest = store.readLatest.bind(store)
    store.readLatest = (user) => {
      asked.push(user)
      return readLatest(user)
    }
    await refused(custody.releaser.release(request({ workflow: "restore.admin.copy" })), "ERR_DENIED")
    assert.deepEqual(asked, [ALICE])
  })

  it("ask the policy of this moment, by the worker's name in its certificate", async () => {
    const asked: PolicyRequest[] = []
    custody.policy = { evaluate: (ask) => {
      asked.push(ask)
      return { decision: "allow", rule: "test" }
    } }
    await release({ workflow: "restore.admin.copy" })
    assert.deepEqual(asked, [{ worker: "worker-1", user: ALICE, workflow: "restore.admin.copy" }])
    custody.policy = createPolicy({ workflows: [] })
    await refused(release(), "ERR_DENIED")
  })

  it("wait for the second copy", async () => {
    await custody.addEkey(BOB, { acknowledged: false })
    await refused(release({ user: BOB }), "ERR_NOT_DURABLE")
    await refused(custody.releaser.releaseMany(bulk([ALICE, BOB])), "ERR_NOT_DURABLE")
    await custody.store.acknowledge([{ user: BOB, version: 1 }])
    await release({ user: BOB })
  })

  it("give in a bulk each user's in the order asked, and nothing for who is unknown or denied", async () => {
    const bob = await custody.addEkey(BOB)
    const params = bulk([BOB, "nobody@acme.example", ALICE, BOB])
    assert.deepEqual(openedBulk(params, await custody.releaser.releaseMany(params)), [bob, null, alice, bob])
    custody.policy = { evaluate: ({ user }) => ({ decision: user === BOB ? "deny" : "allow", rule: "test" }) }
    const second = bulk([BOB, ALICE])
    assert.deepEqual(openedBulk(second, await custody.releaser.releaseMany(second)), [null, alice])
  })

  it("end with the session", async () => {
    custody.clock.jump(HOUR_MS)
    await refused(release(), "ERR_SESSION")
    await refused(custody.releaser.releaseMany(bulk([ALICE])), "ERR_SESSION")
    await refused(release({ session: toBase64url(randomBytes(16)) }), "ERR_SESSION")
  })

  it("end with the worker's revocation, and when no list says that it is not revoked", async () => {
    custody.clock.jump(24 * HOUR_MS - 30 * 60_000)
    const { near } = connectPeers(custody.clock, custody.handlers())
    session = await openSession({ peer: near, identity: custody.worker, revocations: custody.revocations, clock: custody.clock, deadlineMs: 1_000 })
    await release()
    custody.clock.jump(30 * 60_000)
    await refused(release(), "ERR_REVOCATION_STALE")
    await refused(custody.releaser.releaseMany(bulk([ALICE])), "ERR_REVOCATION_STALE")
    custody.clock.jump(-30 * 60_000)
    custody.revocations.apply(await custody.authorities.revocationList("worker", [custody.worker.serial]))
    await refused(release(), "ERR_SESSION")
  })

  it("do not come from a record that was damaged, or put in another's place", async () => {
    await custody.addEkey(BOB)
    const [first, second] = [ALICE, BOB].map((user) => [...custody.disk.records.values()].find(({ id }) => id.user === user) ?? assert.fail())
    assert.ok(first && second)
    const kept = Buffer.from(first.record)
    second.record.copy(first.record)
    await refused(release(), "ERR_DECRYPT")
    kept.copy(first.record)
    first.record.writeUInt8(first.record.readUInt8(60) ^ 1, 60)
    await refused(release(), "ERR_DECRYPT")
    await refused(custody.releaser.releaseMany(bulk([BOB, ALICE])), "ERR_DECRYPT")
  })

  it("leave no ekey in a buffer of the connector, whether sealed or not", async () => {
    await custody.addEkey(BOB)
    await release()
    const params = bulk([ALICE, BOB])
    await custody.releaser.releaseMany(params)
    assert.equal(custody.openedBuffers.length, 3)
    // A bulk that fails after its first user.
    const carol = "carol@acme.example"
    await custody.addEkey(carol, { acknowledged: false })
    await refused(custody.releaser.releaseMany(bulk([ALICE, carol])), "ERR_NOT_DURABLE")
    assert.equal(custody.openedBuffers.length, 4)
    for (const buffer of custody.openedBuffers) assert.deepEqual(buffer, Buffer.alloc(32))
  })

  it("are told in the log with their rule, refusals with their reason, and without any key", async () => {
    await release({ reason: "nightly" })
    await refused(release({ user: BOB }), "ERR_DENIED")
    const [released] = custody.log.of("ekey released")
    assert.deepEqual(released?.fields, {
      worker: "worker-1", user: ALICE, version: 1, workflow: "backup.scheduled", operation: OPERATION, reason: "nightly", rule: "policy.workflows: backup.*",
    })
    assert.deepEqual(custody.log.fieldOf("release refused", "because"), ["no such ekey"])
  })
})
