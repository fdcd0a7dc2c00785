import { randomBytes } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import { codeOf, EkeyError } from "../../src/base/errors.ts"
import type { ErrorCode } from "../../src/base/error-codes.ts"
import { listen } from "../../src/cloud/listener.ts"
import type { Listener } from "../../src/cloud/listener.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { REVOCATION_LIFE_MS, RevocationLists } from "../../src/wire/identity/revocation.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import type { WirePeer } from "../../src/wire/link/gateway-link.ts"
import type { RevocationList } from "../../src/wire/messages/certificate.ts"
import type { ParamsOf, ResultOf } from "../../src/wire/methods.ts"
import { EventLog } from "./event-log.ts"
import { FakeClock } from "./fake-clock.ts"
import { mintAuthorities } from "./identities.ts"
import type { TestAuthorities } from "./identities.ts"
import { ACME, Members, WITHIN_MS } from "./members.ts"
import type { ConnectorOptions, TestConnector } from "./members.ts"

type Relayed = "session.open" | "ekey.release" | "ekey.releaseMany"
type Asked<M extends Relayed> = Omit<ParamsOf<M>, "deadlineMs">

/** What the liar does with a request; `ask` takes one to the connector. */
export type Lie<M extends Relayed> = (params: Asked<M>, ask: (params: Asked<M>) => Promise<ResultOf<M>>) => Promise<ResultOf<M>>
export type Lies = { readonly [M in Relayed]?: Lie<M> }

/**
 * A gateway in other hands: it has the real one's certificate and key, real workers and connectors
 * dial it, and it does with their requests and answers what a test tells it to.
 */
export class LyingGateway {
  readonly clock: FakeClock
  readonly authorities: TestAuthorities
  readonly identity: LocalIdentity
  readonly members: Members
  /** Set anew by each test; what is not in it is relayed as it is. */
  lies: Lies = {}
  /** What connectors said to each thing that they were asked, in order; emptied by who looks. */
  readonly said: (ErrorCode | "answered" | undefined)[] = []
  /** What every hello is answered with, and `publish` sends. */
  lists: readonly RevocationList[] = []
  readonly #connectors = new Map<string, WirePeer>()
  readonly #workers = new Map<string, WirePeer>()
  #listener: Listener | undefined

  constructor(parts: { clock: FakeClock; authorities: TestAuthorities; identity: LocalIdentity }) {
    this.clock = parts.clock
    this.authorities = parts.authorities
    this.identity = parts.identity
    this.members = new Members({ ...parts, address: () => ({ host: "127.0.0.1", port: this.#listener?.port ?? 0 }) })
  }

  /** `identity`: what it shows instead of the real gateway's certificate. */
  static async open(options: { clock?: FakeClock; authorities?: TestAuthorities; identity?: LocalIdentity } = {}): Promise<LyingGateway> {
    const { clock = new FakeClock() } = options
    const authorities = options.authorities ?? await mintAuthorities({ nowMs: clock.now() })
    const identity = options.identity ?? await authorities.identity({ role: "gateway", notAfterMs: clock.now() + 30 * REVOCATION_LIFE_MS })
    const liar = new LyingGateway({ clock, authorities, identity })
    liar.lists = await liar.signLists()
    await liar.#listen()
    return liar
  }

  /** A connector that is connected and has an ekey for each user. */
  async connector(users: readonly string[], options: ConnectorOptions = {}): Promise<TestConnector> {
    const connector = await this.members.connector(options)
    await connector.link.ready(WITHIN_MS)
    const peer = this.connectorPeer(connector.identity.identity.tenant ?? "")
    for (const user of users) await peer.call("ekey.provision", { user }, WITHIN_MS)
    return connector
  }

  /** The link of a tenant's connector. */
  connectorPeer(tenant = ACME): WirePeer {
    const peer = this.#connectors.get(tenant)
    if (!peer) throw new EkeyError("ERR_NO_CONNECTOR", "no connector is connected")
    return peer
  }

  /** Lists of all three authorities, signed now: no gateway can make these by itself. */
  async signLists(revoked: { readonly worker?: readonly string[]; readonly connector?: readonly string[]; readonly gateway?: readonly string[] } = {}): Promise<RevocationList[]> {
    const nowMs = this.clock.now()
    return await Promise.all(ROLES.map((role) => this.authorities.revocationList(role, revoked[role], { issuedAtMs: nowMs, nextUpdateMs: nowMs + REVOCATION_LIFE_MS })))
  }

  /** Passes lists on to everybody who is connected, and waits until all have taken them. */
  async publish(lists: readonly RevocationList[]): Promise<void> {
    this.lists = lists
    const peers = [...this.#connectors.values(), ...this.#workers.values()].filter((peer) => peer.isOpen)
    await Promise.all(peers.map((peer) => peer.call("revocation.update", { revocations: [...lists] }, WITHIN_MS)))
  }

  async close(): Promise<void> {
    await this.members.close()
    await this.#listener?.close()
  }

  async #listen(): Promise<void> {
    const revocations = new NobodyRevoked({ trust: this.authorities.trust, clock: this.clock })
    this.#listener = await listen({
      host: "127.0.0.1", port: 0, identity: () => this.identity, revocations, clock: this.clock, random: () => 0.5, log: new EventLog(),
      serve: {
        connector: ({ tenant }, peer) => ({
          "connector.hello": async () => {
            this.#connectors.set(tenant, peer())
            return this.#greeting()
          },
          "records.put": async ({ records }) => ({ stored: records.length }),
        }),
        worker: ({ tenant, verified }, peer) => ({
          "worker.hello": async () => {
            this.#workers.set(verified.identity.name, peer())
            return this.#greeting()
          },
          "operation.begin": async () => ({ operation: toBase64url(randomBytes(16)) }),
          "operation.end": async () => ({}),
          "session.open": ({ deadlineMs: _, ...params }) => {
            const ask = (asked: Asked<"session.open">) => this.#note(this.connectorPeer(tenant).call("session.open", asked, WITHIN_MS))
            return this.lies["session.open"]?.(params, ask) ?? ask(params)
          },
          "ekey.release": ({ deadlineMs: _, ...params }) => {
            const ask = (asked: Asked<"ekey.release">) => this.#note(this.connectorPeer(tenant).call("ekey.release", asked, WITHIN_MS))
            return this.lies["ekey.release"]?.(params, ask) ?? ask(params)
          },
          "ekey.releaseMany": ({ deadlineMs: _, ...params }) => {
            const ask = (asked: Asked<"ekey.releaseMany">) => this.#note(this.connectorPeer(tenant).call("ekey.releaseMany", asked, WITHIN_MS))
            return this.lies["ekey.releaseMany"]?.(params, ask) ?? ask(params)
          },
        }),
        enrol: () => ({}),
      },
    })
  }

  async #note<R>(asked: Promise<R>): Promise<R> {
    try {
      const answer = await asked
      this.said.push("answered")
      return answer
    } catch (error) {
      this.said.push(codeOf(error))
      throw error
    }
  }

  #greeting(): ResultOf<"worker.hello"> {
    return { nowMs: this.clock.now(), revocations: [...this.lists] }
  }
}

/** A liar judges nobody by the lists that it hands out: its door is open. */
class NobodyRevoked extends RevocationLists {
  override isRevoked(): boolean {
    return false
  }

  override assertFresh(): void {
    // Whatever the time.
  }
}
