import { EkeyError } from "../base/errors.ts"
import type { Clock } from "../base/clock.ts"
import type { Logger } from "../base/logger.ts"
import type { Role } from "../wire/identity/spiffe.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import { CLOSE_CODES } from "../wire/limits.ts"
import { METHODS } from "../wire/methods.ts"
import { connectLocal } from "../wire/rpc/local-socket.ts"

export interface AuthoritiesOptions {
  /** Each authority's local socket. */
  readonly sockets: Readonly<Record<Role, string>>
  readonly clock: Clock
  readonly log: Logger
}

/** The gateway's way to the three authorities: it relays requests to them and holds none of their keys. */
export class Authorities {
  readonly #options: AuthoritiesOptions
  readonly #peers = new Map<Role, Promise<WirePeer>>()

  constructor(options: AuthoritiesOptions) {
    this.#options = options
  }

  /** @throws EkeyError ERR_AUTHORITY_UNAVAILABLE when nobody listens on the role's socket. */
  async peer(role: Role): Promise<WirePeer> {
    const held = this.#peers.get(role)
    if (held) return await held
    const { sockets, clock, log } = this.#options
    const connecting = connectLocal({ path: sockets[role], methods: METHODS, clock, log }).catch((cause: unknown) => {
      throw new EkeyError("ERR_AUTHORITY_UNAVAILABLE", `the ${role} authority does not answer`, { cause })
    })
    this.#peers.set(role, connecting)
    const forget = (): void => {
      if (this.#peers.get(role) === connecting) this.#peers.delete(role)
    }
    try {
      const peer = await connecting
      void peer.closed.then(forget)
      return peer
    } catch (error) {
      forget()
      throw error
    }
  }

  /** Ends the conversations. */
  async close(): Promise<void> {
    const peers = await Promise.allSettled(this.#peers.values())
    for (const peer of peers) {
      if (peer.status === "fulfilled") peer.value.close(CLOSE_CODES.normal, "done")
    }
  }
}
