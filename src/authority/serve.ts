import type { Clock } from "../base/clock.ts"
import type { Logger } from "../base/logger.ts"
import { METHODS } from "../wire/methods.ts"
import { serveLocal } from "../wire/rpc/local-socket.ts"
import type { Authority } from "./authority.ts"

export interface ServeAuthorityOptions {
  readonly authority: Authority
  readonly socket: string
  /** The socket's group may ask too: for a gateway with an account of its own. */
  readonly groupAccess: boolean
  readonly clock: Clock
  readonly log: Logger
}

/** Answers a gateway over the local socket. Nothing that it asks needs it to be trusted. */
export async function serveAuthority({ authority, socket, groupAccess, clock, log }: ServeAuthorityOptions): Promise<{ close(): Promise<void> }> {
  return await serveLocal({
    path: socket,
    groupAccess,
    methods: METHODS,
    handlers: {
      "certificate.enrol": (params) => authority.enrol(params),
      "certificate.renew": (params) => authority.renew(params),
      "revocation.current": async () => ({ list: await authority.revocationList() }),
    },
    clock,
    log,
  })
}
