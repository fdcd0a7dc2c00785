import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import type { WebSocket } from "ws"
import { toBase64url } from "../../src/base/bytes.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { encodeBulkRequest, encodeSingleRequest, proveRequest } from "../../src/crypto/session-release.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import { PATHS } from "../../src/wire/limits.ts"
import type { Workflow } from "../../src/wire/messages/workflows.ts"
import { requestFrame } from "../../src/wire/rpc/frame.ts"
import { openWebSocket } from "../../src/wire/rpc/websocket.ts"
import { openSession } from "../../src/worker/session.ts"
import type { WorkerSession } from "../../src/worker/session.ts"
import { CloudScene } from "../support/cloud-scene.ts"
import { WITHIN_MS } from "../support/members.ts"
import type { BareWorker, TestConnector } from "../support/members.ts"

const SHARED = "shared-name@both.example"
const ONLY_ACME = "only@acme.example"
const ONLY_GLOBEX = "only@globex.example"
const SCHEDULED = { product: "microsoft-365", workflow: "backup.scheduled" } as const
const RESTORE = { product: "microsoft-365", workflow: "restore.admin.copy" } as const

interface Ask {
  readonly session: WorkerSession
  /** Put in place of the session's own. */
  readonly sessionId?: string
  readonly operation: string
  readonly workflow: Workflow
  readonly user: string
}

/** A well-proved request, with whatever a worker that cheats puts into it. */
function releaseParams({ session, sessionId = session.id, operation, workflow, user }: Ask) {
  const sequence = ++session.lastSequence
  const encoded = encodeSingleRequest({
    session: Buffer.from(sessionId, "base64url"), sequence, tenant: session.tenant, operation: Buffer.from(operation, "base64url"), workflow, reason: "", user, version: 0,
  })
  return { operation, session: sessionId, sequence, workflow, reason: "", user, version: null, proof: toBase64url(proveRequest(session.keys.requestKey, encoded)) }
}

function bulkParams(session: WorkerSession, operation: string, workflow: Workflow, users: string[]) {
  const sequence = ++session.lastSequence
  const encoded = encodeBulkRequest({ session: session.idBytes, sequence, tenant: session.tenant, operation: Buffer.from(operation, "base64url"), workflow, reason: "", users })
  return { operation, session: session.id, sequence, workflow, reason: "", users, proof: toBase64url(proveRequest(session.keys.requestKey, encoded)) }
}

const randomId = (): string => toBase64url(randomBytes(16))

describe("A worker of one tenant beside another tenant", () => {
  let scene: CloudScene
  let acme: TestConnector
  let globex: TestConnector
  let ours: BareWorker
  let theirs: BareWorker

  before(async () => {
    scene = await CloudScene.open()
    acme = await scene.connector({ tenant: "acme", workflows: ["backup.*"] })
    globex = await scene.connector({ tenant: "globex", workflows: ["backup.scheduled", "restore.*"] })
    await scene.provision([SHARED, ONLY_ACME], "acme")
    await scene.provision([SHARED, ONLY_GLOBEX], "globex")
    // Of the same name: only the tenant tells them apart.
    ours = await scene.members.bareWorker({ tenant: "acme", name: "backup-1" })
    theirs = await scene.members.bareWorker({ tenant: "globex", name: "backup-1" })
  })
  after(async () => { await scene.close() })

  const open = (worker: BareWorker): Promise<WorkerSession> =>
    openSession({ peer: worker.peer, identity: worker.identity, revocations: worker.revocations, clock: scene.clock, deadlineMs: WITHIN_MS })
  const begin = async (worker: BareWorker, options: { product: "microsoft-365"; workflow: Workflow } = SCHEDULED): Promise<string> =>
    (await worker.peer.call("operation.begin", { ...options, run: null }, WITHIN_MS)).operation
  const release = (worker: BareWorker, ask: Ask): Promise<unknown> => worker.peer.call("ekey.release", releaseParams(ask), WITHIN_MS)
  const refusal = async (attempt: Promise<unknown>): Promise<{ code: ErrorCode; message: string }> => {
    const outcome = await Promise.allSettled([attempt])
    assert.ok(outcome[0].status === "rejected")
    const { code, message } = outcome[0].reason as { code: ErrorCode; message: string }
    return { code, message }
  }

  it("gets its own tenant's ekey of a user whose name both have", async () => {
    for (const [worker, connector, other] of [[ours, acme, globex], [theirs, globex, acme]] as const) {
      const released = await (await worker.client.begin(SCHEDULED)).release(SHARED)
      const [expected, different] = [await connector.ekeyOf(SHARED), await other.ekeyOf(SHARED)]
      await released.ekey.consume((bytes) => {
        assert.ok(expected.equals(bytes))
        assert.ok(!different.equals(bytes))
      })
    }
  })

  it("gets nothing of a user that only the other tenant has, and can't tell that there is one", async () => {
    const operation = await begin(ours)
    const session = await open(ours)
    const of = (user: string) => refusal(release(ours, { session, operation, workflow: SCHEDULED.workflow, user }))
    assert.deepEqual(await of(ONLY_GLOBEX), { code: "ERR_DENIED", message: "not released" })
    assert.deepEqual(await of(ONLY_GLOBEX), await of("nobody@anywhere.example"))
    assert.deepEqual(await (await ours.client.begin(SCHEDULED)).releaseMany([ONLY_GLOBEX, "nobody@anywhere.example"]), [null, null])
  })

  it("can't use, end or tell from a made-up one an operation of the other tenant", async () => {
    const operation = await begin(theirs)
    const session = await open(ours)
    const use = (id: string) => refusal(release(ours, { session, operation: id, workflow: SCHEDULED.workflow, user: SHARED }))
    assert.equal((await use(operation)).code, "ERR_OPERATION")
    assert.deepEqual(await use(operation), await use(randomId()))
    const useBulk = (id: string) => refusal(ours.peer.call("ekey.releaseMany", bulkParams(session, id, SCHEDULED.workflow, [SHARED]), WITHIN_MS))
    assert.deepEqual(await useBulk(operation), await use(randomId()))
    const end = (id: string) => refusal(ours.peer.call("operation.end", { operation: id, outcome: { state: "succeeded", exitCode: 0, statistics: {} } }, WITHIN_MS))
    assert.equal((await end(operation)).code, "ERR_OPERATION")
    assert.deepEqual(await end(operation), await end(randomId()))
    // The attempts did it no harm.
    await release(theirs, { session: await open(theirs), operation, workflow: SCHEDULED.workflow, user: SHARED })
  })

  it("can't use an operation of another worker of its own tenant", async () => {
    const colleague = await scene.members.bareWorker({ tenant: "acme", name: "backup-2" })
    const operation = await begin(colleague)
    assert.equal((await refusal(release(ours, { session: await open(ours), operation, workflow: SCHEDULED.workflow, user: SHARED }))).code, "ERR_OPERATION")
  })

  it("can't reach a session of the other tenant, nor tell it from a made-up one", async () => {
    const operation = await begin(ours)
    const [session, foreign] = [await open(ours), await open(theirs)]
    const reach = (sessionId: string) => refusal(release(ours, { session, sessionId, operation, workflow: SCHEDULED.workflow, user: SHARED }))
    assert.equal((await reach(foreign.id)).code, "ERR_SESSION")
    assert.deepEqual(await reach(foreign.id), await reach(randomId()))
    // Not even with the session's own keys, should they have leaked.
    assert.equal((await refusal(release(ours, { session: foreign, operation, workflow: SCHEDULED.workflow, user: SHARED }))).code, "ERR_SESSION")
    await release(theirs, { session: foreign, operation: await begin(theirs), workflow: SCHEDULED.workflow, user: SHARED })
  })

  it("can't open a session for another worker's certificate, nor with one of the other tenant's", async () => {
    const asTheirs: LocalIdentity = { ...ours.identity, certificateDer: theirs.identity.certificateDer }
    const attempt = openSession({ peer: ours.peer, identity: asTheirs, revocations: ours.revocations, clock: scene.clock, deadlineMs: WITHIN_MS })
    assert.equal((await refusal(attempt)).code, "ERR_CERT_TENANT") // By the connector, before it looks at the signature.
    const colleague = await scene.members.identity("worker", { tenant: "acme", name: "backup-2" })
    const asColleague: LocalIdentity = { ...ours.identity, certificateDer: colleague.certificateDer }
    const second = openSession({ peer: ours.peer, identity: asColleague, revocations: ours.revocations, clock: scene.clock, deadlineMs: WITHIN_MS })
    assert.equal((await refusal(second)).code, "ERR_SESSION_PROOF")
  })

  it("can't report the end of the other tenant's run", async () => {
    const run = randomId()
    const { runs, schedules } = scene.database
    await schedules.add({ tenant: "globex", name: "nightly", user: SHARED, ...SCHEDULED, job: "documents", cron: "0 3 * * *", parameters: {}, enabled: false })
    await runs.start({ id: run, tenant: "globex", schedule: "nightly", user: SHARED, job: "documents" })
    await runs.assign(run, "backup-1")
    const report = (worker: BareWorker, id: string) =>
      worker.peer.call("job.finished", { run: id, outcome: { state: "succeeded", exitCode: 0, statistics: {} } }, WITHIN_MS)
    assert.equal((await refusal(report(ours, run))).code, "ERR_OPERATION")
    assert.deepEqual(await refusal(report(ours, run)), await refusal(report(ours, randomId())))
    assert.equal((await runs.find("globex", run))?.state, "running")
    await report(theirs, run)
    assert.equal((await runs.find("globex", run))?.state, "succeeded")
  })

  it("gets nothing while its own tenant has no connector, though the other has one", async () => {
    const lonely = await scene.members.bareWorker({ tenant: "initech" })
    assert.equal((await refusal(open(lonely))).code, "ERR_NO_CONNECTOR")
  })

  it("is judged by its own connector's policy, each tenant by its own", async () => {
    const attempts = [[ours, RESTORE, "ERR_DENIED"], [theirs, RESTORE, null], [ours, { ...SCHEDULED, workflow: "backup.manual" }, null], [theirs, { ...SCHEDULED, workflow: "backup.manual" }, "ERR_DENIED"]] as const
    for (const [worker, options, code] of attempts) {
      const attempt = (await worker.client.begin(options)).release(SHARED)
      if (code === null) await attempt
      else assert.equal((await refusal(attempt)).code, code)
    }
  })

  it("can't ask for another workflow than its operation's", async () => {
    const operation = await begin(ours, RESTORE)
    const session = await open(ours)
    // What policy forbids to the operation, dressed as what it allows.
    assert.equal((await refusal(release(ours, { session, operation, workflow: SCHEDULED.workflow, user: SHARED }))).code, "ERR_OPERATION")
    assert.equal((await refusal(ours.peer.call("ekey.releaseMany", bulkParams(session, operation, SCHEDULED.workflow, [SHARED]), WITHIN_MS))).code, "ERR_OPERATION")
  })
})

describe("An unknown user and a denied one", () => {
  let scene: CloudScene
  let connector: TestConnector
  let worker: BareWorker
  let socket: WebSocket
  let session: WorkerSession

  before(async () => {
    scene = await CloudScene.open()
    connector = await scene.connector({ workflows: ["backup.*"] })
    await scene.provision([SHARED])
    worker = await scene.members.bareWorker()
    session = await openSession({ peer: worker.peer, identity: worker.identity, revocations: worker.revocations, clock: scene.clock, deadlineMs: WITHIN_MS })
    // A second link of the same worker, whose frames are seen as they are.
    const stream = await connectTls(scene.members.address, worker.identity, new AbortController().signal)
    socket = await openWebSocket(stream, PATHS.worker, "127.0.0.1")
  })
  after(async () => {
    socket.close()
    await scene.close()
  })

  /** The very text that comes back for a request with this id. */
  const answerTo = (id: number, method: string, params: object): Promise<string> => new Promise((resolve) => {
    socket.once("message", (data: Buffer) => { resolve(data.toString()) })
    socket.send(requestFrame(id, method, { ...params, deadlineMs: WITHIN_MS }))
  })
  const operationOf = async (workflow: Workflow): Promise<string> =>
    (await worker.peer.call("operation.begin", { product: "microsoft-365", workflow, run: null }, WITHIN_MS)).operation

  it("get the same frame, byte for byte, apart from the request's id", async () => {
    const allowed = await operationOf("backup.scheduled")
    const forbidden = await operationOf("restore.admin.copy")
    const unknown = await answerTo(11, "ekey.release", releaseParams({ session, operation: allowed, workflow: "backup.scheduled", user: "nobody@acme.example" }))
    const denied = await answerTo(12, "ekey.release", releaseParams({ session, operation: forbidden, workflow: "restore.admin.copy", user: SHARED }))
    const both = await answerTo(13, "ekey.release", releaseParams({ session, operation: forbidden, workflow: "restore.admin.copy", user: "nobody@acme.example" }))
    assert.equal(unknown, "{\"jsonrpc\":\"2.0\",\"id\":11,\"error\":{\"code\":-32000,\"message\":\"not released\",\"data\":{\"code\":\"ERR_DENIED\",\"retryable\":false}}}")
    assert.equal(denied, unknown.replace("\"id\":11", "\"id\":12"))
    assert.equal(both, unknown.replace("\"id\":11", "\"id\":13"))
  })

  it("get answers of one length in a bulk, and the same item inside", async () => {
    const lengthOf = async (workflow: Workflow, users: string[]): Promise<number> =>
      (await worker.peer.call("ekey.releaseMany", bulkParams(session, await operationOf(workflow), workflow, users), WITHIN_MS)).sealed.length
    const mixed = await lengthOf("backup.bulk", [SHARED, "nobody@acme.example"])
    assert.equal(await lengthOf("restore.admin.copy", [SHARED, "nobody@acme.example"]), mixed)
    assert.equal(await lengthOf("backup.bulk", ["nobody@acme.example", "no-one@acme.example"]), mixed)
    assert.deepEqual(await (await worker.client.begin(RESTORE)).releaseMany([SHARED, "nobody@acme.example"]), [null, null])
  })

  it("are told apart in the connector's log alone", async () => {
    const operation = await worker.client.begin(SCHEDULED)
    await assert.rejects(operation.release("missing@acme.example"), { code: "ERR_DENIED" })
    const restore = await worker.client.begin(RESTORE)
    await assert.rejects(restore.release(SHARED), { code: "ERR_DENIED" })
    const [unknown, denied] = connector.log.of("release refused").slice(-2)
    assert.deepEqual([unknown?.fields["user"], unknown?.fields["because"]], ["missing@acme.example", "no such ekey"])
    assert.deepEqual([denied?.fields["user"], denied?.fields["because"]], [SHARED, "policy.workflows: no entry matches"])
  })
})
