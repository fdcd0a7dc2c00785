import assert from "node:assert/strict"
import { setImmediate as nextTurn } from "node:timers/promises"
import { inspect } from "node:util"
import { bytesOf, toBase64url } from "../../src/base/bytes.ts"
import { EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { encodeSingleRequest, sealRelease } from "../../src/crypto/session-release.ts"
import type { WireHandlers, WirePeer } from "../../src/wire/link/gateway-link.ts"
import { MAX_CLOCK_SKEW_MS, RELEASE_MS } from "../../src/wire/limits.ts"
import { DEFAULT_DEADLINE_MS, EkeyClient } from "../../src/worker/client.ts"
import type { Operation } from "../../src/worker/client.ts"
import { Custody } from "../support/custody.ts"
import { connectPeers } from "../support/peer-pair.ts"

const ALICE = "alice@acme.example"
const BOB = "bob@acme.example"
const BACKUP = { product: "microsoft-365", workflow: "backup.scheduled" } as const

describe("A client of the SDK", () => {
  let custody: Custody
  let alice: Buffer
  let client: EkeyClient
  let operation: Operation
  /** Handlers that take the place of the honest ones. */
  let instead: WireHandlers
  /** Every request, in order. */
  let asked: { method: string; params: Record<string, unknown> }[]
  let link: { peer: WirePeer | undefined; ready: (withinMs: number) => Promise<WirePeer> }

  beforeEach(async () => {
    custody = await Custody.open()
    alice = await custody.addEkey(ALICE)
    instead = {}
    asked = []
    const peer = connect()
    link = { peer, ready: () => Promise.resolve(peer) }
    client = new EkeyClient({ link, identity: () => custody.worker, revocations: custody.revocations, clock: custody.clock })
    operation = await client.begin(BACKUP)
  })

  const connect = (): WirePeer => {
    const honest = custody.handlers()
    const note = (method: string, params: object): void => { asked.push({ method, params: { ...params } }) }
    return connectPeers(custody.clock, {
      "operation.begin": async (params) => {
        note("operation.begin", params)
        return await honest["operation.begin"]()
      },
      "operation.end": async (params) => {
        note("operation.end", params)
        return await honest["operation.end"]()
      },
      "session.open": async (params, context) => {
        note("session.open", params)
        return await (instead["session.open"] ?? honest["session.open"])(params, context)
      },
      "ekey.release": async (params, context) => {
        note("ekey.release", params)
        return await (instead["ekey.release"] ?? honest["ekey.release"])(params, context)
      },
      "ekey.releaseMany": async (params, context) => {
        note("ekey.releaseMany", params)
        return await (instead["ekey.releaseMany"] ?? honest["ekey.releaseMany"])(params, context)
      },
    }).near
  }
  /** Handlers that answer honestly and then change something. */
  const altering = (change: <A extends { sealed: string; expiresAtMs: number }>(answer: A) => A): WireHandlers => ({
    "ekey.release": async (params) => change(await custody.releaser.release(params)),
    "ekey.releaseMany": async (params) => change(await custody.releaser.releaseMany(params)),
  })
  const refused = (attempt: Promise<unknown>, code: ErrorCode): Promise<void> => assert.rejects(attempt, { name: "EkeyError", code })
  const methods = (): string[] => asked.map(({ method }) => method)
  const refuse = (code: ErrorCode): Promise<never> => Promise.reject(new EkeyError(code, "refused"))

  it("begins operations of a product, a workflow and a run, and ends them", async () => {
    const run = toBase64url(Buffer.alloc(16, 1))
    const begun = await client.begin({ ...BACKUP, run })
    await begun.end({ state: "failed", exitCode: 1, reason: "ERR_JOB_FAILED", detail: "exit code 1" })
    assert.deepEqual(asked.slice(1).map(({ params }) => params), [
      { ...BACKUP, run, deadlineMs: DEFAULT_DEADLINE_MS },
      { operation: begun.id, outcome: { state: "failed", exitCode: 1, reason: "ERR_JOB_FAILED", detail: "exit code 1" }, deadlineMs: DEFAULT_DEADLINE_MS },
    ])
  })

  it("gets a user's ekey as a secret that prints as nothing, and gives it once", async () => {
    const released = await operation.release(ALICE)
    assert.deepEqual([released.user, released.version], [ALICE, 1])
    assert.ok(!inspect(released, { depth: 9, showHidden: true }).includes(inspect(alice).slice(8, 30)))
    assert.equal(JSON.stringify(released), `{"user":"${ALICE}","version":1,"ekey":"[secret]"}`)
    assert.ok(await released.ekey.consume((bytes) => alice.equals(bytes)))
    await assert.rejects(released.ekey.consume(() => undefined))
  })

  it("counts its requests up, single and bulk in one sequence, and asks in its operation's workflow", async () => {
    await operation.release(ALICE, { reason: "nightly" })
    await operation.releaseMany([ALICE])
    await operation.release(ALICE, { version: 1 })
    const requests = asked.filter(({ method }) => method.startsWith("ekey."))
    assert.deepEqual(requests.map(({ params }) => [params["sequence"], params["workflow"], params["reason"], params["operation"], params["version"]]), [
      [1, "backup.scheduled", "nightly", operation.id, null], [2, "backup.scheduled", "", operation.id, undefined], [3, "backup.scheduled", "", operation.id, 1],
    ])
    assert.deepEqual(methods(), ["operation.begin", "session.open", "ekey.release", "ekey.releaseMany", "ekey.release"])
  })

  it("gets many in the order asked, each its own buffer, and null for who is not released", async () => {
    const bob = await custody.addEkey(BOB)
    const released = await operation.releaseMany([BOB, "nobody@acme.example", ALICE])
    assert.deepEqual(released.map((one) => one && [one.user, one.version]), [[BOB, 1], null, [ALICE, 1]])
    released[2]?.ekey.wipe()
    assert.ok(await released[0]?.ekey.consume((bytes) => bob.equals(bytes)))
  })

  for (const [name, ask] of [
    ["release", (of: Operation) => of.release(ALICE)],
    ["releaseMany", (of: Operation) => of.releaseMany([ALICE])],
  ] as const) {
    const method = name === "release" ? "ekey.release" : "ekey.releaseMany"

    it(`opens a new session and asks once more when the other end has lost the session (${name})`, async () => {
      await ask(operation)
      asked = []
      let answers = 0
      instead = altering((answer) => {
        answers += 1
        if (answers === 1) throw new EkeyError("ERR_SESSION", "no such session")
        return answer
      })
      await ask(operation)
      assert.deepEqual(methods(), [method, "session.open", method])
      assert.equal(asked[2]?.params["sequence"], 1)
      assert.notEqual(asked[2].params["session"], asked[0]?.params["session"])
    })

    it(`asks no more than once more (${name})`, async () => {
      instead = { [method]: () => refuse("ERR_SESSION") }
      await refused(ask(operation), "ERR_SESSION")
      assert.equal(methods().filter((asked_) => asked_ === method).length, 2)
    })

    for (const code of ["ERR_DENIED", "ERR_REPLAY", "ERR_SESSION_PROOF", "ERR_OVERLOADED", "ERR_NO_CONNECTOR", "ERR_NOT_DURABLE", "ERR_OPERATION"] as const) {
      it(`leaves it to its caller what to do about ${code} (${name})`, async () => {
        instead = { [method]: () => refuse(code) }
        await refused(ask(operation), code)
        assert.equal(methods().filter((asked_) => asked_ === method).length, 1)
      })
    }

    it(`believes no answer whose expiry or sealed bytes were changed (${name})`, async () => {
      instead = altering((answer) => ({ ...answer, expiresAtMs: answer.expiresAtMs + 1 }))
      await refused(ask(operation), "ERR_DECRYPT")
      instead = altering((answer) => ({ ...answer, sealed: toBase64url(Buffer.alloc(bytesOf(answer.sealed).length)) }))
      await refused(ask(operation), "ERR_DECRYPT")
    })

    it(`refuses an answer that comes after its expiry and the clocks' tolerance (${name})`, async () => {
      const late = (lateMs: number): WireHandlers => altering((answer) => {
        custody.clock.jump(lateMs)
        return answer
      })
      instead = late(RELEASE_MS + MAX_CLOCK_SKEW_MS)
      await ask(operation)
      instead = late(RELEASE_MS + MAX_CLOCK_SKEW_MS + 1)
      await refused(ask(operation), "ERR_DEADLINE")
    })

    it(`gives up at the deadline, which counts from its first step (${name})`, async () => {
      const { promise: opening, resolve } = Promise.withResolvers<undefined>()
      const { promise: may, resolve: allow } = Promise.withResolvers<undefined>()
      instead = {
        "session.open": async (params) => {
          resolve(undefined)
          await may
          return await custody.table.open(params)
        },
        [method]: () => new Promise<never>(() => undefined),
      }
      const attempt = name === "release" ? operation.release(ALICE, { deadlineMs: 1_000 }) : operation.releaseMany([ALICE], { deadlineMs: 1_000 })
      const outcome = refused(attempt, "ERR_DEADLINE")
      await opening
      await custody.clock.tick(600)
      allow(undefined)
      while (!methods().includes(method)) await nextTurn()
      assert.equal(asked.at(-1)?.params["deadlineMs"], 400)
      await custody.clock.tick(399)
      assert.equal(await Promise.race([outcome, Promise.resolve("pending")]), "pending")
      await custody.clock.tick(1)
      await outcome
    })
  }

  it("gets the version that it asked for", async () => {
    await custody.addEkey(ALICE, { version: 2 })
    assert.equal((await operation.release(ALICE, { version: 1 })).version, 1)
    assert.equal((await operation.release(ALICE)).version, 2)
  })

  it("refuses another version than it asked for, however well it was sealed", async () => {
    instead = { "ekey.release": async ({ session, sequence, workflow, reason, user, version, ...params }) => {
      const { keys, id } = custody.table.find(session)
      const encoded = encodeSingleRequest({ session: id, sequence, tenant: "acme", operation: bytesOf(params.operation), workflow, reason, user, version: version ?? 0 })
      const terms = { version: 2, expiresAtMs: custody.clock.now() + RELEASE_MS }
      return { ...terms, sealed: toBase64url(sealRelease(keys.releaseKey, sequence, encoded, terms, alice)) }
    } }
    assert.equal((await operation.release(ALICE)).version, 2) // Sealed as a connector does it.
    await refused(operation.release(ALICE, { version: 1 }), "ERR_DECRYPT")
  })

  it("waits for a link within the deadline, and says when there is none", async () => {
    const live = link.peer
    link.peer = undefined
    const waits: number[] = []
    link.ready = (withinMs) => {
      waits.push(withinMs)
      return live ? Promise.resolve(live) : assert.fail()
    }
    await operation.release(ALICE, { deadlineMs: 700 })
    link.ready = () => refuse("ERR_UNREACHABLE")
    await refused(operation.release(ALICE), "ERR_UNREACHABLE")
    await refused(client.begin(BACKUP), "ERR_UNREACHABLE")
    await refused(operation.end({ state: "succeeded", exitCode: 0, statistics: {} }), "ERR_UNREACHABLE")
    assert.deepEqual(waits, [700])
  })

  it("opens a session anew over a new link", async () => {
    await operation.release(ALICE)
    link.peer = connect()
    await operation.release(ALICE)
    assert.deepEqual(methods(), ["operation.begin", "session.open", "ekey.release", "session.open", "ekey.release"])
  })
})
