import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate as nextTurn } from "node:timers/promises"
import { connect } from "node:tls"
import { fileURLToPath } from "node:url"
import { mintToken } from "../../src/authority/admin.ts"
import { createAuthority } from "../../src/authority/authority.ts"
import { serveAuthority } from "../../src/authority/serve.ts"
import { systemClock, systemRandom } from "../../src/base/clock.ts"
import { codeOf } from "../../src/base/errors.ts"
import { makePrivateFolder } from "../../src/base/files.ts"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { silentLogger } from "../../src/base/logger.ts"
import { ADMIN_METHODS } from "../../src/cloud/admin/methods.ts"
import type { AdminMethods } from "../../src/cloud/admin/methods.ts"
import { startConnector } from "../../src/connector/connector.ts"
import { createPolicy } from "../../src/connector/policy.ts"
import type { EkeyStore } from "../../src/connector/store/ekey-store.ts"
import { openVault } from "../../src/connector/store/vault.ts"
import { RecordSealer } from "../../src/crypto/sealed-record.ts"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../src/wire/identity/own-identity.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import { formatToken } from "../../src/wire/identity/token.ts"
import { enrolThroughGateway } from "../../src/wire/link/enrolment.ts"
import type { GatewayAddress, TlsIdentity } from "../../src/wire/link/tls.ts"
import { connectLocal } from "../../src/wire/rpc/local-socket.ts"
import type { RpcPeer } from "../../src/wire/rpc/peer.ts"
import type { EkeyClient, Operation, ReleasedEkey } from "../../src/worker/client.ts"
import { connectClient } from "../../src/worker/worker.ts"
import { findTraces } from "../support/ekey-traces.ts"
import { testKey, TRUST_DOMAIN } from "../support/identities.ts"
import { requirePlatform } from "../support/requirements.ts"
import { TlsTap } from "../support/tls-tap.ts"

const CLOUD = fileURLToPath(new URL("../../src/bin/ekey-cloud.ts", import.meta.url))
const USERS = Array.from({ length: 12 }, (_, index) => `user-${index}@acme.example`)
const ADMIN_WITHIN_MS = 10_000

/** The folder's own files and those below it, read now. */
async function bytesBelow(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return Buffer.concat(await Promise.all(entries.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name)))))
}

/** `ekey-cloud run` as a process of its own, and all that it says. */
class GatewayProcess {
  readonly data: string
  readonly #child: ChildProcess
  readonly #output: Buffer[] = []
  readonly #exited: Promise<number | null>

  constructor(config: string, data: string) {
    this.data = data
    this.#child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CLOUD, "run", "--config", config], { stdio: ["ignore", "pipe", "pipe"] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (chunk: Buffer) => { this.#output.push(chunk) })
    this.#exited = new Promise((resolve) => { this.#child.once("close", resolve) })
  }

  /** Everything logged so far. */
  logged(): Buffer {
    return Buffer.concat(this.#output)
  }

  /** The first log line that matches. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.logged().toString())
      if (found) return found
      await new Promise<void>((resolve, reject) => {
        this.#child.stdout?.once("data", () => { resolve() })
        this.#child.once("close", () => { reject(new Error(`the gateway ended: ${this.logged().toString()}`)) })
      })
    }
  }

  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM")
    return await this.#exited
  }
}

/** Keys from the pool, so that enrolment takes no seconds. */
class QuickIdentityFolder extends IdentityFolder {
  readonly #index: number

  constructor(path: string, index: number) {
    super(path)
    this.#index = index
  }

  override pendingKey(): ReturnType<IdentityFolder["pendingKey"]> {
    return testKey(this.#index)
  }
}

describe("The gateway, as a process of its own", function () {
  this.timeout(60_000)

  let folder: string
  let gateway: GatewayProcess
  let admin: RpcPeer<AdminMethods>
  let store: EkeyStore
  let client: EkeyClient
  const lifecycle = new Lifecycle({ clock: systemClock, log: silentLogger, stopDeadlineMs: 10_000 })
  const taps: TlsTap[] = []
  /** What the gateway answered on its admin socket. */
  const answered: unknown[] = []
  /** Other secrets that nothing of may reach the gateway. */
  const secrets = new Map<string, Buffer>()
  /** Every ekey that was released, as the worker got it. */
  const ekeys = new Map<string, Buffer>()

  const place = (role: Role) => ({ role, folder: join(folder, "authorities"), trustDomain: TRUST_DOMAIN, clock: systemClock })
  const socketOf = (role: Role): string => join(folder, `${role}.sock`)

  const tap = async (client: TlsIdentity | undefined): Promise<GatewayAddress> => {
    const shown = await new IdentityFolder(join(gateway.data, "identity")).load() ?? assert.fail("the gateway has no identity")
    const port = Number((await gateway.line(/"gateway ready".*"port":(\d+)/))[1])
    const opened = await TlsTap.open({ gateway: shown, client, upstream: { host: "127.0.0.1", port } })
    taps.push(opened)
    return opened.address
  }

  const enrol = async (role: "connector" | "worker", keyIndex: number): Promise<{ identity: LocalIdentity; folder: IdentityFolder }> => {
    const token = await mintToken(place(role), { tenant: "acme", name: `${role}-1` })
    secrets.set(`${role}'s token`, token.secret.export())
    const identityFolder = new QuickIdentityFolder(join(folder, role), keyIndex)
    const identity = await enrolThroughGateway({
      address: await tap(undefined), token, folder: identityFolder, clock: systemClock, log: silentLogger, signal: new AbortController().signal,
    })
    const exponent = Buffer.from(identity.privateKey.export({ format: "jwk" }).d ?? assert.fail(), "base64url")
    // Two parts: in PEM, whose lines hold 48 bytes each, one of them would be whole.
    secrets.set(`${role}'s private key`, exponent.subarray(0, 24)).set(`${role}'s private key, further on`, exponent.subarray(24, 48))
    return { identity, folder: identityFolder }
  }

  const ask = async <M extends keyof AdminMethods>(method: M, params: Parameters<typeof admin.call<M>>[1]): Promise<void> => {
    answered.push(await admin.call(method, params, ADMIN_WITHIN_MS))
  }

  const keep = async (released: ReleasedEkey | null): Promise<void> => {
    assert.ok(released)
    await released.ekey.consume((bytes) => {
      const known = ekeys.get(released.user)
      if (known) assert.ok(known.equals(bytes))
      ekeys.set(released.user, Buffer.from(bytes))
    })
  }

  const begin = (): Promise<Operation> => client.begin({ product: "microsoft-365", workflow: "backup.bulk" })

  /** Everything that reached or left the gateway after TLS, on its disk and in its log, until now. */
  const everything = async (): Promise<Readonly<Record<"received" | "stored" | "logged" | "answered", Buffer>>> => ({
    received: Buffer.concat(taps.map((opened) => opened.captured())),
    stored: await bytesBelow(gateway.data),
    logged: gateway.logged(),
    answered: Buffer.from(JSON.stringify(answered)),
  })

  before(async function () {
    requirePlatform(this, ["linux", "darwin"], "the authorities listen on Unix sockets in a temporary folder")
    folder = await mkdtemp(join(tmpdir(), "ekey-blind-"))
    await makePrivateFolder(place("gateway").folder)
    for (const role of ROLES) {
      const authority = await createAuthority({ ...place(role), log: silentLogger, rsaBits: 2048 })
      const server = await serveAuthority({ authority, socket: socketOf(role), groupAccess: false, clock: systemClock, log: silentLogger })
      lifecycle.add(role, () => server.close())
    }
    await writeFile(join(folder, "gateway.token"), formatToken(await mintToken(place("gateway"), { tenant: null, name: "gateway-1" })), { mode: 0o600 })
    const config = {
      listen: { port: 0 }, data: "cloud", enrolmentTokenFile: "gateway.token",
      authorities: { gateway: "gateway.sock", connector: "connector.sock", worker: "worker.sock" }, log: { level: "debug" },
    }
    await writeFile(join(folder, "cloud.yaml"), JSON.stringify(config)) // JSON is YAML.
    gateway = new GatewayProcess(join(folder, "cloud.yaml"), join(folder, "cloud"))
    lifecycle.add("gateway", async () => { await gateway.stop() })
    await gateway.line(/"gateway ready"/)
    admin = await reach(join(gateway.data, "admin.sock"))
    lifecycle.add("admin", () => { admin.close(1000, "done") })

    const connector = await enrol("connector", 1)
    const rootKey = randomBytes(32)
    secrets.set("root key", Buffer.from(rootKey))
    const vault = join(folder, "vault")
    await makePrivateFolder(vault)
    store = await openVault({ folder: vault, tenant: "acme" })
    lifecycle.add("store", () => store.close())
    const sealer = new RecordSealer({ rootKey, tenant: "acme" })
    await store.bindRootKey(sealer.rootKeyId)
    const policy = createPolicy({ workflows: ["backup.*"] })
    const link = await startConnector({
      address: await tap(connector.identity), own: new OwnIdentity(connector.identity), folder: connector.folder, store, sealer, policy: () => policy,
      software: "test", clock: systemClock, random: systemRandom, log: silentLogger, lifecycle,
    })
    await link.ready(10_000)

    const worker = await enrol("worker", 2)
    client = await connectClient({
      address: await tap(worker.identity), own: new OwnIdentity(worker.identity), folder: worker.folder,
      software: "test", clock: systemClock, random: systemRandom, log: silentLogger, lifecycle,
    })

    for (const user of USERS) await ask("user.add", { tenant: "acme", user })
    const operation = await begin()
    for (const user of USERS) await keep(await operation.release(user, { reason: "backup" }))
    for (const user of USERS.slice(0, 3)) await keep(await operation.release(user, { version: 1 }))
    for (const released of await operation.releaseMany(USERS)) await keep(released)
    await assert.rejects(operation.release("nobody@acme.example"), { code: "ERR_DENIED" })
    await operation.end({ state: "succeeded", exitCode: 0, statistics: { files: 1 } })
    await ask("user.list", { tenant: "acme" })
    await ask("status", {})
  })

  after(async () => {
    await lifecycle.stop()
    for (const opened of taps) await opened.close()
    await rm(folder, { recursive: true })
  })

  it("has had the whole conversation captured, its storage and its log read", async () => {
    const { received, stored, logged, answered: answers } = await everything()
    for (const method of ["certificate.enrol", "connector.hello", "records.put", "worker.hello", "session.open", "operation.begin", "ekey.release", "ekey.releaseMany"]) {
      assert.ok(received.includes(`"method":"${method}"`), method)
    }
    assert.ok(received.includes("\"method\":\"ekey.provision\"")) // Which it sends.
    for (const user of USERS) {
      assert.ok(received.includes(user) && stored.includes(user) && answers.includes(user))
      const { record } = await store.readLatest(user) ?? assert.fail()
      // The blind copy is where an ekey would be found if it were not sealed.
      assert.ok(stored.includes(Buffer.from(record)))
      assert.ok(received.includes(Buffer.from(record).toString("base64url")))
    }
    assert.ok(logged.includes("\"peer connected\""))
  })

  it("has nowhere seen an ekey, in no encoding", async () => {
    assert.deepEqual([...ekeys.keys()], USERS)
    assert.equal(new Set([...ekeys.values()].map((ekey) => ekey.toString("hex"))).size, USERS.length)
    for (const [where, bytes] of Object.entries(await everything())) {
      for (const [user, ekey] of ekeys) assert.deepEqual(findTraces(bytes, ekey), [], `${where}: ekey of ${user}`)
    }
  })

  it("has nowhere seen a token's secret, a peer's private key or the root key", async () => {
    assert.equal(secrets.size, 7)
    for (const [where, bytes] of Object.entries(await everything())) {
      for (const [name, secret] of secrets) assert.deepEqual(findTraces(bytes, secret), [], `${where}: ${name}`)
    }
  })

  // What proves that the three above would see it: a secret that is let slip on purpose.
  const encodings = [["hex", "hex"], ["base64 at 0", "base64url"]] as const

  for (const [name, encoding] of encodings) {
    it(`would have been caught receiving one as ${name}`, async () => {
      const planted = randomBytes(32)
      const operation = await begin()
      await operation.release(USERS[0] ?? "", { reason: planted.toString(encoding) })
      const { received, stored, logged } = await everything()
      assert.ok(findTraces(received, planted).includes(name))
      assert.deepEqual(findTraces(Buffer.concat([stored, logged]), planted), [])
    })

    it(`would have been caught storing one as ${name}`, async () => {
      const planted = randomBytes(32)
      await ask("schedule.add", { tenant: "acme", schedule: {
        name: `nightly-${encoding}`, user: USERS[0] ?? "", product: "microsoft-365", workflow: "backup.scheduled", job: "documents", cron: "0 3 * * *",
        parameters: { folder: planted.toString(encoding) }, enabled: false,
      } })
      const { stored } = await everything()
      assert.ok(findTraces(stored, planted).includes(name))
    })

    it(`would have been caught logging one as ${name}`, async () => {
      const planted = randomBytes(32)
      const path = `/${planted.toString(encoding)}`
      const tapped = await tap(undefined)
      const response = await upgradeWithoutSubprotocol(tapped, path)
      assert.match(response, /ERR_VERSION/)
      await gateway.line(new RegExp(`"path":"${path}"`))
      assert.ok(findTraces((await everything()).logged, planted).includes(name))
    })
  }

  it("would have been caught storing one raw", async () => {
    const { record } = await store.readLatest(USERS[0] ?? "") ?? assert.fail()
    assert.deepEqual(findTraces((await everything()).stored, record.subarray(0, 32)), ["raw"])
  })
})

/** The admin socket, which opens a moment after the gateway said that it is ready. */
async function reach(path: string): Promise<RpcPeer<AdminMethods>> {
  for (;;) {
    try {
      return await connectLocal({ path, methods: ADMIN_METHODS, clock: systemClock, log: silentLogger })
    } catch (error) {
      if (codeOf(error) !== "ERR_UNREACHABLE") throw error
      await nextTurn()
    }
  }
}

/** An upgrade that is refused with its path in the log. */
async function upgradeWithoutSubprotocol({ host, port }: GatewayAddress, path: string): Promise<string> {
  const stream = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] })
  stream.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`)
  const chunks: Buffer[] = []
  for await (const chunk of stream) {
    assert.ok(Buffer.isBuffer(chunk))
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
