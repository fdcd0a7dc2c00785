import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { RecordSealer } from "../../src/crypto/sealed-record.ts"
import { SESSION_MS } from "../../src/wire/limits.ts"
import type { Operation, ReleasedEkey } from "../../src/worker/client.ts"
import { CloudScene } from "../support/cloud-scene.ts"
import { LyingGateway } from "../support/lying-gateway.ts"
import type { TestConnector, TestWorker } from "../support/members.ts"
import { MemoryStore, newMemoryDisk } from "../support/memory-store.ts"
import { until } from "../support/until.ts"

const ALICE = "alice@acme.example"
const BACKUP = { product: "microsoft-365", workflow: "backup.scheduled" } as const
const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
/** So that only what a test is about ends. */
const LONG = { notAfterMs: Date.UTC(2026, 1, 1) }

async function isEkeyOf(connector: TestConnector, user: string, released: ReleasedEkey): Promise<void> {
  const expected = await connector.ekeyOf(user)
  assert.ok(await released.ekey.consume((bytes) => expected.equals(bytes)))
}

describe("Sessions through the gateway", () => {
  let scene: CloudScene
  let connector: TestConnector
  let worker: TestWorker
  let operation: Operation

  beforeEach(async () => {
    scene = await CloudScene.open()
    connector = await scene.connector(LONG)
    await scene.provision([ALICE])
    worker = await scene.members.worker(LONG)
    operation = await worker.client.begin(BACKUP)
  })
  afterEach(async () => { await scene.close() })

  const opened = (of = connector): number => of.log.of("session opened").length

  it("need one handshake for many releases, also when all ask at once", async () => {
    const released = await Promise.all(Array.from({ length: 100 }, () => operation.release(ALICE)))
    for (const one of released) await isEkeyOf(connector, ALICE, one)
    for (let turn = 0; turn < 10; turn++) await isEkeyOf(connector, ALICE, await operation.release(ALICE))
    assert.equal(opened(), 1)
  })

  it("are shared by the operations of a client, and by nobody else", async () => {
    await operation.release(ALICE)
    await (await worker.client.begin(BACKUP)).release(ALICE)
    assert.equal(opened(), 1)
    const other = await scene.members.worker({ name: "worker-2", ...LONG })
    await (await other.client.begin(BACKUP)).release(ALICE)
    assert.equal(opened(), 2)
  })

  it("are followed by new ones shortly before they end, unnoticed by who asks", async () => {
    await operation.release(ALICE)
    scene.clock.jump(SESSION_MS - 31_000)
    await operation.release(ALICE)
    assert.equal(opened(), 1)
    scene.clock.jump(1_000)
    await operation.release(ALICE)
    assert.equal(opened(), 2)
  })

  /** A connector's end shows at the gateway a moment later; until then a request may still be sent to it: ERR_LINK_LOST. */
  async function gatewayKnows(connectors: number): Promise<void> {
    await until("the gateway to know", () => scene.gateway.connectors.of("acme").length === connectors)
  }

  it("end with the connector's process: the next one gives the same ekey by a new session", async () => {
    await operation.release(ALICE)
    await connector.stop()
    await gatewayKnows(0)
    await assert.rejects(operation.release(ALICE), { code: "ERR_NO_CONNECTOR" })
    const next = await scene.connector({ place: connector.place, ...LONG })
    await isEkeyOf(next, ALICE, await operation.release(ALICE))
    assert.equal(opened(next), 1)
  })

  it("move to another connector of the tenant when theirs goes away", async () => {
    const second = await scene.connector({ name: "connector-2", place: connector.place, ...LONG })
    await operation.release(ALICE)
    const [asked, other] = opened() === 1 ? [connector, second] : [second, connector]
    await asked.stop()
    await gatewayKnows(1)
    await isEkeyOf(other, ALICE, await operation.release(ALICE))
    assert.equal(opened(other), 1)
  })

  it("do not outlive the worker's link", async () => {
    await operation.release(ALICE)
    const lost = worker.log.next("link lost")
    scene.gateway.workers.all()[0]?.peer.close(1001, "test")
    await lost
    const ready = worker.log.next("link ready")
    await scene.clock.tick(1_000)
    await ready
    await isEkeyOf(connector, ALICE, await operation.release(ALICE))
    assert.equal(opened(), 2)
  })

  it("keep the order of the requests that are made at once", async () => {
    await Promise.all(Array.from({ length: 200 }, (_, index) => index % 3 === 0 ? operation.releaseMany([ALICE]) : operation.release(ALICE)))
    assert.equal(opened(), 1) // ERR_REPLAY would have been thrown for any that another overtook.
  })
})

describe("Provisioning through the gateway", () => {
  let scene: CloudScene

  beforeEach(async () => { scene = await CloudScene.open() })
  afterEach(async () => { await scene.close() })

  it("is answered when both copies are durable, and gives one ekey however often it is asked", async () => {
    const connector = await scene.connector()
    const { custodian } = scene.gateway
    const answers = await Promise.all([1, 2, 3].map(() => custodian.provision("acme", ALICE, 10_000)))
    assert.deepEqual(answers.map(({ version }) => version), [1, 1, 1])
    assert.equal(answers.filter(({ created }) => created).length, 1)
    const [copy, ...others] = await scene.database.records.since("acme", 0, 10)
    assert.deepEqual(others, [])
    const stored = await new MemoryStore("acme", connector.place.disk).readLatest(ALICE) ?? assert.fail()
    assert.deepEqual(Buffer.from(copy?.sealed ?? []), stored.record)
    assert.equal(stored.acknowledged, true)
  })

  it("brings records that an earlier link could not, as soon as there is one", async () => {
    const place = { disk: newMemoryDisk(), rootKey: randomBytes(32) }
    const store = new MemoryStore("acme", place.disk)
    const sealer = new RecordSealer({ rootKey: place.rootKey, tenant: "acme" })
    await store.bindRootKey(sealer.rootKeyId)
    const id = { user: ALICE, version: 1 }
    await store.create(id, sealer.seal(id, randomBytes(32), scene.clock.now()))
    await scene.connector({ place })
    await until("the second copy", async () => (await scene.database.records.count("acme")) === 1)
    await until("the second copy", async () => (await store.read(id))?.acknowledged === true)
  })

  it("refuses a second value for a version, raises an alarm, and releases neither", async () => {
    const first = await scene.connector()
    await scene.provision([ALICE])
    await first.stop()
    await until("the gateway to know", () => scene.gateway.connectors.of("acme").length === 0)
    const impostor = await scene.connector({ name: "connector-2" }) // With a store of its own.
    await assert.rejects(scene.provision([ALICE]), { code: "ERR_NOT_DURABLE" })
    assert.equal((await scene.database.alarms.list("acme", 10))[0]?.kind, "record conflict")
    assert.deepEqual(impostor.log.fieldOf("alarm", "kind"), ["record conflict"])
    const worker = await scene.members.worker()
    await assert.rejects((await worker.client.begin(BACKUP)).release(ALICE), { code: "ERR_NOT_DURABLE" })
  })
})

/** With a gateway that would go on relaying for anybody: the ends must see for themselves. */
describe("Sessions, whatever the gateway lets pass,", () => {
  let liar: LyingGateway
  let connector: TestConnector
  let worker: TestWorker
  let operation: Operation
  /** What the connector said to each release. */
  let said: (ErrorCode | "released" | undefined)[]

  beforeEach(async () => {
    liar = await LyingGateway.open()
    connector = await liar.connector([ALICE], LONG)
    worker = await liar.members.worker(LONG)
    operation = await worker.client.begin(BACKUP)
    said = []
    liar.lies = { "ekey.release": async (params, ask) => {
      try {
        const answer = await ask(params)
        said.push("released")
        return answer
      } catch (error) {
        said.push(error instanceof EkeyError ? error.code : undefined)
        throw error
      }
    } }
  })
  afterEach(async () => { await liar.close() })

  it("end at the connector when the worker is revoked", async () => {
    await operation.release(ALICE)
    await liar.publish(await liar.signLists({ worker: [worker.identity.serial] }))
    assert.deepEqual(connector.log.fieldOf("session ended", "worker"), ["worker-1"])
    await assert.rejects(operation.release(ALICE), { code: "ERR_CERT_REVOKED" }) // Said to the next offer.
    assert.deepEqual(said, ["released", "ERR_SESSION"])
  })

  it("go on when another worker is revoked", async () => {
    const other = await liar.members.worker({ name: "worker-2", ...LONG })
    await operation.release(ALICE)
    await (await other.client.begin(BACKUP)).release(ALICE)
    await liar.publish(await liar.signLists({ worker: [other.identity.serial] }))
    await operation.release(ALICE)
    assert.deepEqual(connector.log.fieldOf("session ended", "worker"), ["worker-2"])
  })

  it("end at the worker when the connector is revoked", async () => {
    await operation.release(ALICE)
    await liar.publish(await liar.signLists({ connector: [connector.identity.serial] }))
    await assert.rejects(operation.release(ALICE), { code: "ERR_CERT_REVOKED" })
    assert.deepEqual(said, ["released"]) // The second was not even asked.
  })

  it("end with the worker's certificate", async () => {
    const brief = await liar.members.worker({ name: "brief", notAfterMs: liar.clock.now() + 10 * MINUTE_MS })
    const begun = await brief.client.begin(BACKUP)
    await begun.release(ALICE)
    liar.clock.jump(10 * MINUTE_MS)
    await assert.rejects(begun.release(ALICE), { code: "ERR_CERT_EXPIRED" })
    assert.equal(connector.log.fieldOf("session opened", "expiresAtMs")[0], brief.identity.notAfterMs)
  })

  it("end with the connector's certificate", async () => {
    const brief = await liar.connector([ALICE], { name: "brief", notAfterMs: liar.clock.now() + 10 * MINUTE_MS })
    await operation.release(ALICE)
    assert.equal(brief.log.fieldOf("session opened", "expiresAtMs")[0], brief.identity.notAfterMs)
    liar.clock.jump(10 * MINUTE_MS)
    await assert.rejects(operation.release(ALICE), { code: "ERR_CERT_EXPIRED" })
    assert.deepEqual(said, ["released"])
  })

  it("give nothing more once the gateway has kept the revocation lists back for a day", async () => {
    liar.clock.jump(DAY_MS - MINUTE_MS)
    await operation.release(ALICE)
    liar.clock.jump(MINUTE_MS)
    await assert.rejects(operation.release(ALICE), { code: "ERR_REVOCATION_STALE" })
    assert.deepEqual(said, ["released"])
    await liar.publish(await liar.signLists())
    await operation.release(ALICE)
  })
})
