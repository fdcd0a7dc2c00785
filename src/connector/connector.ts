import { randomBytes } from "node:crypto"
import { toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { describeError, EkeyError } from "../base/errors.ts"
import type { Lifecycle } from "../base/lifecycle.ts"
import type { Logger } from "../base/logger.ts"
import type { RecordSealer } from "../crypto/sealed-record.ts"
import type { IdentityFolder } from "../wire/identity/identity-folder.ts"
import type { OwnIdentity } from "../wire/identity/own-identity.ts"
import { openRevocations } from "../wire/identity/kept-revocations.ts"
import { keepRenewed } from "../wire/identity/renewal.ts"
import { createGatewayDial } from "../wire/link/gateway-link.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import { Link } from "../wire/link/link.ts"
import type { GatewayAddress } from "../wire/link/tls.ts"
import { PATHS } from "../wire/limits.ts"
import { BlindCopies } from "./blind-copies.ts"
import type { Policy } from "./policy.ts"
import { provision } from "./provision.ts"
import { Releaser } from "./release.ts"
import { SessionTable } from "./sessions.ts"
import type { EkeyStore } from "./store/ekey-store.ts"

const HELLO_WITHIN_MS = 10_000
/** Waited for at each request: `ready` is only asked when there is no link. */
const LINK_WITHIN_MS = 10_000

export interface ConnectorOptions {
  readonly address: GatewayAddress
  readonly own: OwnIdentity
  readonly folder: IdentityFolder
  readonly store: EkeyStore
  readonly sealer: RecordSealer
  readonly policy: () => Policy
  readonly software: string
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  readonly lifecycle: Lifecycle
}

/** Starts the connector: keeps a link to the gateway and answers what comes over it. */
export async function startConnector(options: ConnectorOptions): Promise<Link<WirePeer>> {
  const { address, own, folder, store, sealer, policy, software, clock, random, log, lifecycle } = options
  const instance = toBase64url(randomBytes(16))
  const revocations = await openRevocations({ folder, own, clock, log })
  const sessions = new SessionTable({ identity: () => own.current(), revocations, clock, log })
  const releaser = new Releaser({ store, sealer, sessions, policy, revocations, clock, log })
  const copies: BlindCopies = new BlindCopies({ store, peer: () => link.peer, log })
  const dial = createGatewayDial({
    address, path: PATHS.connector, identity: () => own.current(), revocations,
    handlers: {
      "session.open": (params) => sessions.open(params),
      "ekey.release": (params, context) => {
        refuseLate(context.remainingMs())
        return releaser.release(params)
      },
      "ekey.releaseMany": (params, context) => {
        refuseLate(context.remainingMs())
        return releaser.releaseMany(params)
      },
      "ekey.provision": ({ user }) => provision({ store, sealer, copies, clock, log }, user),
    },
    hello: (peer) => peer.call("connector.hello", { instance, software }, HELLO_WITHIN_MS),
    clock, random, log,
  })
  const link: Link<WirePeer> = new Link<WirePeer>({
    dial: async (signal) => {
      await own.reload(folder)
      return await dial(signal)
    },
    // What an earlier link could not bring to the second place goes first.
    onReady: () => { copies.flush().catch((error: unknown) => { log.warn("blind copies wait", describeError(error)) }) },
    clock, random, log,
  })
  const stop = new AbortController()
  const loops = Promise.all([
    link.run(stop.signal),
    keepRenewed({ folder, own, send: async (params, deadlineMs) => (await link.ready(LINK_WITHIN_MS)).call("certificate.renew", params, deadlineMs), clock, random, log }, stop.signal),
  ])
  lifecycle.add("link", async () => {
    stop.abort()
    await loops
  })
  return link
}

function refuseLate(remainingMs: number): void {
  if (remainingMs <= 0) throw new EkeyError("ERR_DEADLINE", "too little time is left to answer")
}
