import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { stringify } from "yaml"
import { systemClock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { makePrivateFolder, writeFileDurably } from "../../base/files.ts"
import { silentLogger } from "../../base/logger.ts"
import { ADMIN_METHODS } from "../../cloud/admin/methods.ts"
import type { AdminMethods } from "../../cloud/admin/methods.ts"
import { connectLocal } from "../../wire/rpc/local-socket.ts"
import type { RpcPeer } from "../../wire/rpc/peer.ts"
import { authoritySocket } from "../cloud/authority.ts"
import { adminSocket } from "../cloud/run.ts"
import { identityFolder } from "../enroll.ts"
import type { Engine } from "./engine.ts"
import { Daemon, runCommand } from "./processes.ts"

export const TENANT = "acme"
export const USER = "user-1@acme.example"
export const CONNECTOR = "hq-1"
export const WORKER = "worker-1"
export const GATEWAY = "gateway-1"
export const JOB = "documents"

/** Everything below the data folder. */
export interface Places {
  readonly data: string
  readonly logs: string
  readonly authority: string
  readonly cloud: string
  readonly connector: string
  readonly worker: string
  readonly repository: string
  readonly restored: string
}

export interface SystemOptions {
  readonly data: string
  readonly source: string
  readonly engine: Engine
  /** Told of each step. */
  readonly progress: (step: string) => void
}

/** A certificate that ends sooner is replaced by a new enrolment. */
const MIN_LEFT_MS = 60 * 60_000

/** Brings the whole system up on loopback, by the same commands that an admin would type. */
export class System {
  readonly places: Places
  readonly daemons: Daemon[] = []
  readonly #options: SystemOptions
  #admin: RpcPeer<AdminMethods> | undefined
  #stopping = false
  url = ""

  constructor(options: SystemOptions) {
    this.#options = options
    const below = (name: string): string => join(options.data, name)
    this.places = {
      data: options.data, logs: below("logs"), authority: below("authority"), cloud: below("cloud"), connector: below("connector"),
      worker: below("worker"), repository: below(`repository-${options.engine.name}`), restored: below("restored"),
    }
  }

  async start(): Promise<void> {
    const { places } = this
    const { progress } = this.#options
    for (const folder of [places.data, places.logs, places.cloud, places.connector, places.worker]) await makePrivateFolder(folder)
    await mkdir(places.repository, { recursive: true, mode: 0o700 })

    progress("three authorities, each with a key of its own")
    const authorities = this.#daemon("authority", "ekey-cloud", ["authority", "run", "--data", places.authority])
    for (const role of ["gateway", "connector", "worker"]) await authorities.event((event) => event.event === "authority ready" && event["role"] === role)

    progress("the gateway")
    await this.#startGateway()
    progress("the connector: enrolled with a one-time token, holds the vault")
    await this.#startMember("connector", CONNECTOR, this.#connectorConfig())
    progress("the worker: enrolled with a one-time token, runs the jobs")
    await this.#startMember("worker", WORKER, this.#workerConfig())
  }

  /** The gateway's admin socket. */
  get admin(): RpcPeer<AdminMethods> {
    if (!this.#admin) throw new Error("the system is not started")
    return this.#admin
  }

  configOf(part: "cloud" | "connector" | "worker"): string {
    return join(this.places.data, `${part}.yaml`)
  }

  logOf(name: string): string {
    return join(this.places.logs, `${name}.log`)
  }

  /** Runs a program with the sample user's ekey, as an admin would. */
  async exec(workflow: string, command: readonly string[]): Promise<void> {
    await runCommand("ekey-worker", ["exec", "--config", this.configOf("worker"), "--user", USER, "--workflow", workflow, "--", ...command], this.logOf("exec"))
  }

  /** Stops what was started, in reverse. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#admin?.close(1000, "done")
    for (const daemon of this.daemons.splice(0).reverse()) await daemon.stop()
  }

  #daemon(name: string, program: "ekey-cloud" | "ekey-connector" | "ekey-worker", args: readonly string[]): Daemon {
    // Starting goes on for a moment after a stop: nothing new may come of it.
    if (this.#stopping) throw new EkeyError("ERR_DRAINING", "the quickstart is stopping")
    const daemon = new Daemon(name, program, args, this.logOf(name))
    this.daemons.push(daemon)
    return daemon
  }

  async #startGateway(): Promise<void> {
    const { places } = this
    const tokenFile = join(places.cloud, "gateway.token")
    if (await this.#needsEnrolment(places.cloud)) await this.#token("gateway", GATEWAY, tokenFile)
    const sockets = { gateway: authoritySocket(places.authority, "gateway"), connector: authoritySocket(places.authority, "connector"), worker: authoritySocket(places.authority, "worker") }
    await this.#config("cloud", { listen: { host: "127.0.0.1", port: 0 }, data: places.cloud, enrolmentTokenFile: tokenFile, authorities: sockets })
    const gateway = this.#daemon("gateway", "ekey-cloud", ["run", "--config", this.configOf("cloud")])
    const { port } = await gateway.event((event) => event.event === "gateway ready")
    this.url = `wss://127.0.0.1:${String(port)}`
    this.#admin = await this.#connectAdmin()
  }

  async #connectAdmin(): Promise<RpcPeer<AdminMethods>> {
    // The socket comes right after the door: a moment's patience is enough.
    for (let tries = 1; ; tries++) {
      try {
        return await connectLocal({ path: adminSocket(this.places.cloud), methods: ADMIN_METHODS, clock: systemClock, log: silentLogger })
      } catch (error) {
        if (tries >= 50) throw error
        await systemClock.sleep(100)
      }
    }
  }

  async #startMember(role: "connector" | "worker", name: string, config: object): Promise<void> {
    const data = this.places[role]
    if (await this.#needsEnrolment(data)) {
      const tokenFile = join(data, "enrolment.token")
      await this.#token(role, name, tokenFile)
      await runCommand(`ekey-${role}`, ["enroll", "--token-file", tokenFile, "--url", this.url, "--data", data], this.logOf(role))
    }
    await this.#config(role, config)
    const daemon = this.#daemon(role, `ekey-${role}`, ["run", "--config", this.configOf(role)])
    await daemon.event((event) => event.event === "link ready")
  }

  async #needsEnrolment(data: string): Promise<boolean> {
    const identity = await identityFolder(data).load()
    return identity === null || identity.notAfterMs - systemClock.now() < MIN_LEFT_MS
  }

  async #token(role: string, name: string, file: string): Promise<void> {
    const tenant = role === "gateway" ? [] : ["--tenant", TENANT]
    await rm(file, { force: true })
    await runCommand("ekey-cloud", ["authority", "token", "--data", this.places.authority, "--role", role, ...tenant, "--name", name, "--out", file], this.logOf("authority"))
  }

  async #config(part: "cloud" | "connector" | "worker", config: object): Promise<void> {
    await writeFileDurably(this.configOf(part), `# Written anew at each start of the quickstart.\n${stringify(config)}`)
  }

  #connectorConfig(): object {
    return {
      cloud: { url: this.url }, data: this.places.connector,
      rootKey: { source: "file", file: join(this.places.connector, "root.key") },
      policy: { workflows: ["backup.*", "restore.*"] }, log: { level: "debug" },
    }
  }

  #workerConfig(): object {
    const { engine, source } = this.#options
    return { cloud: { url: this.url }, data: this.places.worker, jobs: { [JOB]: engine.job(source, this.places.repository) } }
  }
}
