import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { EkeyError } from "../../src/base/errors.ts"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { Authorities } from "../../src/cloud/authorities.ts"
import { startGateway } from "../../src/cloud/gateway.ts"
import type { Gateway } from "../../src/cloud/gateway.ts"
import { openDatabase } from "../../src/cloud/storage/database.ts"
import type { Database } from "../../src/cloud/storage/database.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../src/wire/identity/own-identity.ts"
import { REVOCATION_LIFE_MS } from "../../src/wire/identity/revocation.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { serveLocal } from "../../src/wire/rpc/local-socket.ts"
import { EventLog } from "./event-log.ts"
import { FakeClock } from "./fake-clock.ts"
import { mintAuthorities } from "./identities.ts"
import type { TestAuthorities } from "./identities.ts"
import { MemoryIdentityFolder } from "./memory-identity-folder.ts"
import { ACME, Members, WITHIN_MS } from "./members.ts"
import type { ConnectorOptions, TestConnector } from "./members.ts"

export interface SceneOptions {
  /** Default: a new one that stands still. */
  readonly clock?: FakeClock
  readonly authorities?: TestAuthorities
}

/**
 * The real gateway over real mutual TLS on a port of its own, with storage in memory and authorities
 * that answer over real local sockets. Time stands still until a test turns it.
 */
export class CloudScene {
  readonly clock: FakeClock
  readonly authorities: TestAuthorities
  readonly identity: LocalIdentity
  readonly gateway: Gateway
  readonly database: Database
  /** The gateway's. */
  readonly log: EventLog
  readonly members: Members
  readonly #registry: FakeAuthorities
  readonly #lifecycle: Lifecycle

  constructor(parts: {
    clock: FakeClock; authorities: TestAuthorities; identity: LocalIdentity; gateway: Gateway
    database: Database; log: EventLog; registry: FakeAuthorities; lifecycle: Lifecycle
  }) {
    this.clock = parts.clock
    this.authorities = parts.authorities
    this.identity = parts.identity
    this.gateway = parts.gateway
    this.database = parts.database
    this.log = parts.log
    this.#registry = parts.registry
    this.#lifecycle = parts.lifecycle
    this.members = new Members({ authorities: this.authorities, clock: this.clock, address: () => ({ host: "127.0.0.1", port: this.gateway.port }) })
  }

  static async open(options: SceneOptions = {}): Promise<CloudScene> {
    const { clock = new FakeClock() } = options
    const authorities = options.authorities ?? await mintAuthorities({ nowMs: clock.now() })
    const log = new EventLog()
    const lifecycle = new Lifecycle({ clock, log, stopDeadlineMs: WITHIN_MS })
    const registry = await FakeAuthorities.open(authorities, clock, lifecycle)
    const relay = new Authorities({ sockets: registry.sockets, clock, log })
    lifecycle.add("authorities", () => relay.close())
    const database = await openDatabase({ file: ":memory:", clock })
    lifecycle.add("database", () => database.close())
    const identity = await authorities.identity({ role: "gateway", notAfterMs: clock.now() + 30 * REVOCATION_LIFE_MS })
    const parked = clock.sleepers
    const gateway = await startGateway({
      own: new OwnIdentity(identity), folder: new MemoryIdentityFolder(92), host: "127.0.0.1", port: 0, database, authorities: relay,
      cron: { check: () => undefined, start: () => () => undefined }, clock, random: () => 0.5, log, lifecycle,
    })
    await clock.sleeping(parked + 3) // Scheduler, revocation feed and renewal.
    return new CloudScene({ clock, authorities, identity, gateway, database, log, registry, lifecycle })
  }

  /** A connector that is connected. */
  async connector(options: ConnectorOptions = {}): Promise<TestConnector> {
    const connector = await this.members.connector(options)
    await connector.link.ready(WITHIN_MS)
    return connector
  }

  /** Gives each user an ekey. */
  async provision(users: readonly string[], tenant = ACME): Promise<void> {
    for (const user of users) await this.gateway.custodian.provision(tenant, user, WITHIN_MS)
  }

  /** Has the authority revoke these too, and the gateway fetch its list. */
  async revoke(role: Role, serials: readonly string[]): Promise<void> {
    this.#registry.revoked[role].push(...serials)
    await this.refresh()
  }

  /** The authority of that role answers no more. */
  silence(role: Role): void {
    this.#registry.silent.add(role)
  }

  /** Lets the gateway ask the authorities for their lists, and waits until it has. */
  async refresh(): Promise<void> {
    const parked = this.clock.sleepers
    await this.clock.tick(5_000)
    await this.clock.sleeping(parked) // The poll has gone back to sleep.
  }

  async close(): Promise<void> {
    await this.members.close()
    await this.#lifecycle.stop()
  }
}

/** Three authorities that sign lists of what a test revokes, and no certificates. */
class FakeAuthorities {
  readonly sockets: Record<Role, string>
  readonly revoked: Record<Role, string[]> = { gateway: [], connector: [], worker: [] }
  readonly silent = new Set<Role>()
  readonly #authorities: TestAuthorities
  readonly #clock: FakeClock
  readonly #signed = new Map<Role, RevocationList>()

  constructor(folder: string, authorities: TestAuthorities, clock: FakeClock) {
    this.sockets = { gateway: join(folder, "g.sock"), connector: join(folder, "c.sock"), worker: join(folder, "w.sock") }
    this.#authorities = authorities
    this.#clock = clock
  }

  static async open(authorities: TestAuthorities, clock: FakeClock, lifecycle: Lifecycle): Promise<FakeAuthorities> {
    const folder = await mkdtemp(join(tmpdir(), "ekey-scene-"))
    lifecycle.add("folder", () => rm(folder, { recursive: true }))
    const fake = new FakeAuthorities(folder, authorities, clock)
    const signsNothing = (): Promise<never> => Promise.reject(new EkeyError("ERR_AUTHORITY_UNAVAILABLE", "signs no certificates"))
    for (const role of ROLES) {
      const server = await serveLocal({
        path: fake.sockets[role], methods: METHODS, clock, log: new EventLog(),
        handlers: { "revocation.current": () => fake.#list(role), "certificate.enrol": signsNothing, "certificate.renew": signsNothing },
      })
      lifecycle.add(role, () => server.close())
    }
    return fake
  }

  async #list(role: Role): Promise<{ list: RevocationList }> {
    if (this.silent.has(role)) throw new EkeyError("ERR_AUTHORITY_UNAVAILABLE", "silent")
    const nowMs = this.#clock.now()
    const signed = this.#signed.get(role)
    if (signed?.serials.length === this.revoked[role].length && nowMs < signed.issuedAtMs + REVOCATION_LIFE_MS / 2) return { list: signed }
    const list = await this.#authorities.revocationList(role, this.revoked[role], { issuedAtMs: nowMs, nextUpdateMs: nowMs + REVOCATION_LIFE_MS })
    this.#signed.set(role, list)
    return { list }
  }
}
