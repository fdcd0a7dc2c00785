import { randomBytes } from "node:crypto"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { RecordSealer } from "../../src/crypto/sealed-record.ts"
import { startConnector } from "../../src/connector/connector.ts"
import { createPolicy } from "../../src/connector/policy.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../src/wire/identity/own-identity.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import { createGatewayDial } from "../../src/wire/link/gateway-link.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import type { Link } from "../../src/wire/link/link.ts"
import type { GatewayAddress } from "../../src/wire/link/tls.ts"
import { CLOSE_CODES, PATHS } from "../../src/wire/limits.ts"
import { EkeyClient, newInstance } from "../../src/worker/client.ts"
import { connectClient } from "../../src/worker/worker.ts"
import { EventLog } from "./event-log.ts"
import type { FakeClock } from "./fake-clock.ts"
import { testKey } from "./identities.ts"
import type { LeafOptions, TestAuthorities } from "./identities.ts"
import { MemoryIdentityFolder } from "./memory-identity-folder.ts"
import { MemoryStore, newMemoryDisk } from "./memory-store.ts"
import type { MemoryDisk } from "./memory-store.ts"

export const ACME = "acme"
/** Long enough for a request over loopback on a busy machine; fake clocks never reach it by themselves. */
export const WITHIN_MS = 10_000

export interface MemberOptions extends Omit<LeafOptions, "role" | "tenant"> {
  /** Default: `acme`. */
  readonly tenant?: string
  /** Shown instead of a fresh one of the options above. */
  readonly identity?: LocalIdentity
}

export interface ConnectorOptions extends MemberOptions {
  /** The policy. Default: every backup and restore. */
  readonly workflows?: string[]
  /** What an earlier connector of the tenant left. Default: a new one. */
  readonly place?: ConnectorPlace
}

/** What outlives a connector's process. */
export interface ConnectorPlace {
  readonly disk: MemoryDisk
  readonly rootKey: Buffer
}

export interface TestConnector {
  readonly identity: LocalIdentity
  readonly own: OwnIdentity
  readonly log: EventLog
  readonly link: Link<WirePeer>
  readonly place: ConnectorPlace
  /** What the connector holds, read behind its back: to be compared with what came out. */
  ekeyOf(user: string): Promise<Buffer>
  stop(): Promise<void>
}

export interface TestWorker {
  readonly identity: LocalIdentity
  readonly own: OwnIdentity
  readonly log: EventLog
  readonly client: EkeyClient
  stop(): Promise<void>
}

/** Connectors and workers as their programs compose them, over real mutual TLS, dialling whatever listens at an address. */
export class Members {
  readonly authorities: TestAuthorities
  readonly clock: FakeClock
  readonly #address: () => GatewayAddress
  readonly #lifecycles: Lifecycle[] = []
  readonly #keyIndices = new Map<string, number>()

  constructor(options: { authorities: TestAuthorities; clock: FakeClock; address: () => GatewayAddress }) {
    this.authorities = options.authorities
    this.clock = options.clock
    this.#address = options.address
  }

  /** Where they dial. */
  get address(): GatewayAddress {
    return this.#address()
  }

  /** A proper identity; each name has a key of its own. */
  async identity(role: Role, options: MemberOptions = {}): Promise<LocalIdentity> {
    const { tenant = ACME, name = `${role}-1`, identity, ...leaf } = options
    return identity ?? await this.authorities.identity({
      ...leaf, role, tenant: role === "gateway" ? null : tenant, name, privateKey: leaf.privateKey ?? await testKey(this.#keyIndex(`${role}/${tenant}/${name}`)),
    })
  }

  /** Starts a connector. Resolves before its link is ready: wait for `link.ready`. */
  async connector(options: ConnectorOptions = {}): Promise<TestConnector> {
    const { workflows = ["backup.*", "restore.*"], place = { disk: newMemoryDisk(), rootKey: randomBytes(32) }, ...member } = options
    const identity = await this.identity("connector", member)
    const own = new OwnIdentity(identity)
    const log = new EventLog()
    const lifecycle = this.#lifecycle(log)
    const tenant = identity.identity.tenant ?? ""
    const store = new MemoryStore(tenant, place.disk)
    lifecycle.add("store", () => store.close())
    const sealer = new RecordSealer({ rootKey: place.rootKey, tenant })
    await store.bindRootKey(sealer.rootKeyId)
    const policy = createPolicy({ workflows })
    const link = await startConnector({
      address: this.address, own, folder: new MemoryIdentityFolder(90), store, sealer, policy: () => policy,
      software: "test", clock: this.clock, random: () => 0.5, log, lifecycle,
    })
    return {
      identity, own, log, link, place,
      ekeyOf: async (user) => {
        const stored = await store.readLatest(user)
        if (!stored) throw new Error(`there is no ekey of ${user}`)
        return sealer.open({ user, version: stored.version }, stored.record)
      },
      stop: () => lifecycle.stop(),
    }
  }

  /** Starts a client that asks for ekeys. Resolves before its link is ready: its requests wait for that. */
  async worker(options: MemberOptions = {}): Promise<TestWorker> {
    const identity = await this.identity("worker", options)
    const own = new OwnIdentity(identity)
    const log = new EventLog()
    const lifecycle = this.#lifecycle(log)
    const client = await connectClient({
      address: this.address, own, folder: new MemoryIdentityFolder(91), software: "test", clock: this.clock, random: () => 0.5, log, lifecycle,
    })
    return { identity, own, log, client, stop: () => lifecycle.stop() }
  }

  /** One greeted link of a worker, for requests that no honest client makes. */
  async bareWorker(options: MemberOptions = {}): Promise<BareWorker> {
    const identity = await this.identity("worker", options)
    const log = new EventLog()
    const revocations = new RevocationLists({ trust: identity.trust, clock: this.clock })
    const peer = await createGatewayDial({
      address: this.address, path: PATHS.worker, identity: () => identity, revocations, handlers: {},
      hello: (to) => to.call("worker.hello", { instance: newInstance(), software: "test", serves: null }, WITHIN_MS),
      clock: this.clock, random: () => 0.5, log,
    })(new AbortController().signal)
    this.#lifecycle(log).add("link", async () => {
      peer.close(CLOSE_CODES.goingAway, "done")
      await peer.closed
    })
    const client = new EkeyClient({ link: { peer, ready: () => Promise.resolve(peer) }, identity: () => identity, revocations, clock: this.clock })
    return { identity, peer, revocations, client }
  }

  async close(): Promise<void> {
    for (const lifecycle of this.#lifecycles.reverse()) await lifecycle.stop()
  }

  #lifecycle(log: EventLog): Lifecycle {
    const lifecycle = new Lifecycle({ clock: this.clock, log, stopDeadlineMs: WITHIN_MS })
    this.#lifecycles.push(lifecycle)
    return lifecycle
  }

  #keyIndex(of: string): number {
    const index = this.#keyIndices.get(of) ?? 20 + this.#keyIndices.size
    this.#keyIndices.set(of, index)
    return index
  }
}

export interface BareWorker {
  readonly identity: LocalIdentity
  readonly peer: WirePeer
  readonly revocations: RevocationLists
  /** An honest client over the same link. */
  readonly client: EkeyClient
}
