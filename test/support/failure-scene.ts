import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { createAdminHandlers } from "../../src/cloud/admin/handlers.ts"
import { Authorities } from "../../src/cloud/authorities.ts"
import { startGateway } from "../../src/cloud/gateway.ts"
import type { Gateway } from "../../src/cloud/gateway.ts"
import { openDatabase } from "../../src/cloud/storage/database.ts"
import type { Database } from "../../src/cloud/storage/database.ts"
import type { Run } from "../../src/cloud/storage/runs.ts"
import { OwnIdentity } from "../../src/wire/identity/own-identity.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { serveLocal } from "../../src/wire/rpc/local-socket.ts"
import type { JobDefinition } from "../../src/worker/job-definition.ts"
import { startWorker } from "../../src/worker/worker.ts"
import { EventLog } from "./event-log.ts"
import { FakeClock } from "./fake-clock.ts"
import { FakeCron } from "./fake-cron.ts"
import { mintAuthorities } from "./identities.ts"
import type { TestAuthorities } from "./identities.ts"
import { Members } from "./members.ts"
import { MemoryIdentityFolder } from "./memory-identity-folder.ts"
import { TcpProxy } from "./tcp-proxy.ts"
import { until } from "./until.ts"

export const TENANT = "acme"
export const USER = "u@acme.example"

interface Running {
  readonly gateway: Gateway
  readonly database: Database
  readonly lifecycle: Lifecycle
}

/**
 * The real gateway on a database of its own, which can be restarted, and ways to it that can be cut
 * or frozen: one for connectors, one for workers. Time stands still until a test turns it.
 */
export class FailureScene {
  readonly clock: FakeClock
  readonly cron = new FakeCron()
  readonly log = new EventLog()
  readonly connectorWay: TcpProxy
  readonly workerWay: TcpProxy
  readonly connectors: Members
  readonly workers: Members
  readonly folder: string
  readonly #authorities: TestAuthorities
  readonly #lifecycle: Lifecycle
  readonly #servers: { close(): Promise<void> }[] = []
  #running: Running | undefined
  #port = 0

  private constructor(folder: string, clock: FakeClock, authorities: TestAuthorities, ways: [TcpProxy, TcpProxy]) {
    this.folder = folder
    this.clock = clock
    this.#authorities = authorities
    ;[this.connectorWay, this.workerWay] = ways
    this.connectors = new Members({ authorities, clock, address: () => ({ host: "127.0.0.1", port: ways[0].port }) })
    this.workers = new Members({ authorities, clock, address: () => ({ host: "127.0.0.1", port: ways[1].port }) })
    this.#lifecycle = new Lifecycle({ clock, log: this.log, stopDeadlineMs: 10_000 })
  }

  static async open(): Promise<FailureScene> {
    const clock = new FakeClock()
    const folder = await mkdtemp(join(tmpdir(), "ekey-failures-"))
    // A gateway that is not there has no port: 9 (discard) refuses connections where nobody serves it.
    const target = (): number => scene.#running?.gateway.port ?? 9
    const ways: [TcpProxy, TcpProxy] = [await TcpProxy.open(target), await TcpProxy.open(target)]
    const scene: FailureScene = new FailureScene(folder, clock, await mintAuthorities(), ways)
    await scene.#serveAuthorities()
    await scene.startGateway()
    return scene
  }

  get gateway(): Gateway {
    if (!this.#running) throw new Error("the gateway is not running")
    return this.#running.gateway
  }

  get database(): Database {
    if (!this.#running) throw new Error("the gateway is not running")
    return this.#running.database
  }

  get admin(): ReturnType<typeof createAdminHandlers> {
    return createAdminHandlers({ gateway: this.gateway, database: this.database })
  }

  async startGateway(): Promise<void> {
    const { clock, log } = this
    const lifecycle = new Lifecycle({ clock, log, stopDeadlineMs: 10_000 })
    const authorities = new Authorities({ sockets: this.#sockets(), clock, log })
    lifecycle.add("authorities", () => authorities.close())
    const database = await openDatabase({ file: join(this.folder, "cloud.db"), clock })
    lifecycle.add("database", () => database.close())
    const gateway = await startGateway({
      own: new OwnIdentity(await this.#authorities.identity({ role: "gateway" })), folder: new MemoryIdentityFolder(92),
      host: "127.0.0.1", port: this.#port, database, authorities, cron: this.cron, clock, random: () => 0.5, log, lifecycle,
    })
    this.#port = gateway.port
    this.#running = { gateway, database, lifecycle }
  }

  async stopGateway(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    await running?.lifecycle.stop()
  }

  /** A worker that runs jobs. Its `stop` is a clean one. */
  async worker(jobs: Record<string, JobDefinition>, name = "worker-1"): Promise<{ log: EventLog; stop: () => Promise<void> }> {
    const { clock } = this
    const log = new EventLog()
    const lifecycle = new Lifecycle({ clock, log, stopDeadlineMs: 10_000 })
    await startWorker({
      address: this.workers.address, own: new OwnIdentity(await this.workers.identity("worker", { name })), folder: new MemoryIdentityFolder(91),
      software: "test", jobs, environment: { PATH: "/usr/bin:/bin" }, clock, random: () => 0.5, log, lifecycle,
    })
    this.#lifecycle.add(name, () => lifecycle.stop())
    await this.connected("workers", 1)
    return { log, stop: () => lifecycle.stop() }
  }

  /** Waits until so many are connected, turning the clock for those that wait before they dial again. */
  async connected(registry: "connectors" | "workers", count: number): Promise<void> {
    await until(`${String(count)} ${registry}`, async () => {
      if (this.gateway[registry].all().length === count) return true
      await this.clock.tick(100)
      return false
    })
  }

  /** Cuts every connection of one kind, and waits until the gateway has noticed. */
  async lose(registry: "connectors" | "workers"): Promise<void> {
    const way = registry === "connectors" ? this.connectorWay : this.workerWay
    way.cut()
    await until("the loss", () => this.gateway[registry].all().length === 0)
  }

  /** A user with an ekey and a schedule for it. */
  async schedule(parameters: Record<string, string> = {}, workflow: "backup.scheduled" | "download.mds" = "backup.scheduled"): Promise<void> {
    if (!await this.database.users.find(TENANT, USER)) {
      await this.database.users.add(TENANT, USER)
      const { version } = await this.gateway.custodian.provision(TENANT, USER, 10_000)
      await this.database.users.activate(TENANT, USER, version)
    }
    await this.gateway.scheduler.add({ tenant: TENANT, name: "nightly", user: USER, product: "endpoint", workflow, job: "documents", cron: "0 2 * * *", parameters, enabled: true })
  }

  /** Starts the schedule's job by its time having come. @returns the run's id. */
  async fire(): Promise<string> {
    const before = await this.runs()
    await this.clock.tick(1) // Runs of one millisecond have no order.
    this.cron.fire("0 2 * * *")
    const [newest] = await until("a new run", async () => {
      const runs = await this.runs()
      return runs.length > before.length ? runs : null
    })
    return newest?.id ?? ""
  }

  /** Newest first. */
  async runs(): Promise<Run[]> {
    return await this.database.runs.last(TENANT, "nightly", 100)
  }

  /** The run as it has ended; `turning` lets so much time pass between two looks. */
  async ended(id: string, turning = 0): Promise<Run> {
    return await until("the run's end", async () => {
      if (turning > 0) await this.clock.tick(turning)
      const run = await this.database.runs.find(TENANT, id)
      return run && run.endedAtMs !== null ? run : null
    }, 10_000)
  }

  async close(): Promise<void> {
    // Whoever waits before it dials again is stopped at once; who is ready says goodbye.
    await this.#lifecycle.stop()
    await this.workers.close()
    await this.connectors.close()
    await this.stopGateway()
    await this.connectorWay.close()
    await this.workerWay.close()
    for (const server of this.#servers) await server.close()
    await rm(this.folder, { recursive: true })
  }

  #sockets() {
    return { gateway: join(this.folder, "g.sock"), connector: join(this.folder, "c.sock"), worker: join(this.folder, "w.sock") }
  }

  async #serveAuthorities(): Promise<void> {
    for (const role of ROLES) {
      const list = await this.#authorities.revocationList(role)
      this.#servers.push(await serveLocal({ path: this.#sockets()[role], methods: METHODS, handlers: { "revocation.current": async () => ({ list }) }, clock: this.clock, log: this.log }))
    }
  }
}
