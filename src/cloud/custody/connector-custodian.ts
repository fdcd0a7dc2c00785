import { EkeyError } from "../../base/errors.ts"
import type { Clock } from "../../base/clock.ts"
import type { ProvisionResult } from "../../wire/messages/custody.ts"
import type { ReleaseManyParams, ReleaseManyResult, ReleaseParams, ReleaseResult } from "../../wire/messages/release.ts"
import type { SessionOpenParams, SessionOpenResult } from "../../wire/messages/session.ts"
import type { Member, Registry } from "../registry.ts"
import type { Custodian } from "./custodian.ts"

/** Kept back for the way to the worker, so that a late connector shows as ERR_DEADLINE in time. */
const MARGIN_MS = 20

/** Sessions that the gateway remembers the way to; the oldest gives way, and its worker opens another. */
const MAX_ROUTES = 100_000

interface Route {
  readonly member: Member
  readonly expiresAtMs: number
}

/** Custody by the tenant's connectors: everything is relayed to one of them, sealed end to end. */
export class ConnectorCustodian implements Custodian {
  readonly #connectors: Registry
  readonly #clock: Clock
  readonly #random: () => number
  readonly #routes = new Map<string, Route>()

  constructor(options: { connectors: Registry; clock: Clock; random: () => number }) {
    this.#connectors = options.connectors
    this.#clock = options.clock
    this.#random = options.random
  }

  async openSession(tenant: string, params: Omit<SessionOpenParams, "deadlineMs">, remainingMs: number): Promise<SessionOpenResult> {
    const member = this.#choose(tenant)
    const result = await member.peer.call("session.open", params, remainingMs - MARGIN_MS)
    if (this.#routes.size >= MAX_ROUTES) this.#routes.delete(this.#routes.keys().next().value ?? "")
    this.#routes.set(result.session, { member, expiresAtMs: result.expiresAtMs })
    return result
  }

  async release(tenant: string, params: Omit<ReleaseParams, "deadlineMs">, remainingMs: number): Promise<ReleaseResult> {
    return await this.#memberOf(tenant, params.session).peer.call("ekey.release", params, remainingMs - MARGIN_MS)
  }

  async releaseMany(tenant: string, params: Omit<ReleaseManyParams, "deadlineMs">, remainingMs: number): Promise<ReleaseManyResult> {
    return await this.#memberOf(tenant, params.session).peer.call("ekey.releaseMany", params, remainingMs - MARGIN_MS)
  }

  async provision(tenant: string, user: string, remainingMs: number): Promise<ProvisionResult> {
    return await this.#choose(tenant).peer.call("ekey.provision", { user }, remainingMs - MARGIN_MS)
  }

  #choose(tenant: string): Member {
    const members = this.#connectors.of(tenant)
    const member = members[Math.floor(this.#random() * members.length)]
    if (!member) throw new EkeyError("ERR_NO_CONNECTOR", "no connector is connected")
    return member
  }

  /** A session of another tenant is as unknown as none. */
  #memberOf(tenant: string, session: string): Member {
    const route = this.#routes.get(session)
    if (route?.member.tenant !== tenant) throw new EkeyError("ERR_SESSION", "no such session")
    if (!route.member.peer.isOpen || this.#clock.now() >= route.expiresAtMs) {
      this.#routes.delete(session)
      throw new EkeyError("ERR_SESSION", "the session has ended")
    }
    return route.member
  }
}
