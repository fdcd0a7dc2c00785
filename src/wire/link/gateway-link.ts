import type { X509Certificate } from "node:crypto"
import type { TLSSocket } from "node:tls"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import type { LocalIdentity } from "../identity/identity-folder.ts"
import type { RevocationLists } from "../identity/revocation.ts"
import { verifyPeer } from "../identity/verification.ts"
import { CLOSE_CODES, MAX_CLOCK_SKEW_MS } from "../limits.ts"
import type { HelloResult } from "../messages/hello.ts"
import { METHODS } from "../methods.ts"
import { RpcPeer } from "../rpc/peer.ts"
import type { Handlers } from "../rpc/peer.ts"
import { openWebSocket, WebSocketFrames } from "../rpc/websocket.ts"
import { watchIdentity } from "./identity-watch.ts"
import { CONNECT_WITHIN_MS, connectTls } from "./tls.ts"
import type { GatewayAddress } from "./tls.ts"

/** One end of a conversation in `ekey.v1`. */
export type WirePeer = RpcPeer<typeof METHODS>
export type WireHandlers = Handlers<typeof METHODS>

export interface GatewayLinkOptions {
  readonly address: GatewayAddress
  /** The path for this end's role, from limits.ts. */
  readonly path: string
  /** Asked anew at each dial, so that a renewed certificate is used at once. */
  readonly identity: () => LocalIdentity
  readonly revocations: RevocationLists
  readonly handlers: WireHandlers
  readonly hello: (peer: WirePeer) => Promise<HelloResult>
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

/**
 * Makes the `dial` of a `Link`: TLS, the gateway's certificate judged, WebSocket, hello, and the
 * gateway judged again with the fresh revocation lists that came with the hello. Nothing but the
 * hello is sent before that.
 */
export function createGatewayDial(options: GatewayLinkOptions): (signal: AbortSignal) => Promise<WirePeer> {
  return async (signal) => {
    const { peer, certificate, identity } = await connectPeer(options, signal)
    const stop = (): void => { peer.close(CLOSE_CODES.goingAway, "shutting down") }
    signal.addEventListener("abort", stop, { once: true })
    if (signal.aborted) stop()
    try {
      await greet(options, peer, certificate, identity)
      return peer
    } catch (error) {
      peer.close(CLOSE_CODES.identity, "refused")
      throw error
    } finally {
      signal.removeEventListener("abort", stop)
    }
  }
}

interface Connected {
  readonly peer: WirePeer
  readonly certificate: X509Certificate | undefined
  readonly identity: LocalIdentity
}

async function connectPeer(options: GatewayLinkOptions, signal: AbortSignal): Promise<Connected> {
  const { address, clock } = options
  const identity = options.identity()
  const giveUp = new AbortController()
  const cancel = clock.after(CONNECT_WITHIN_MS, () => { giveUp.abort() })
  const inTime = AbortSignal.any([signal, giveUp.signal])
  try {
    return await converse(options, identity, await connectTls(address, identity, inTime), inTime)
  } finally {
    cancel()
  }
}

async function converse({ address, path, revocations, handlers, clock, random, log }: GatewayLinkOptions, identity: LocalIdentity, stream: TLSSocket, inTime: AbortSignal): Promise<Connected> {
  try {
    const certificate = stream.getPeerX509Certificate()
    verifyPeer({ certificate, expect: { role: "gateway" }, trust: identity.trust, revocations: "later", nowMs: clock.now() })
    const socket = await openWebSocket(stream, path, address.host, inTime)
    const update: WireHandlers["revocation.update"] = (params) => {
      applyLists(revocations, params.revocations)
      return Promise.resolve({})
    }
    const peer = new RpcPeer({
      socket: new WebSocketFrames({ socket, stream, clock, random, heartbeat: "ping" }),
      methods: METHODS,
      handlers: { ...handlers, "revocation.update": update },
      clock,
      log,
    })
    return { peer, certificate, identity }
  } catch (error) {
    stream.destroy()
    throw error instanceof EkeyError ? error : new EkeyError("ERR_UNREACHABLE", "no link to the gateway", { cause: error })
  }
}

async function greet(options: GatewayLinkOptions, peer: WirePeer, certificate: X509Certificate | undefined, identity: LocalIdentity): Promise<void> {
  const { revocations, clock, log } = options
  const hello = await options.hello(peer)
  const skewMs = hello.nowMs - clock.now()
  if (Math.abs(skewMs) > MAX_CLOCK_SKEW_MS) log.error("clock skew", { skewMs, mend: "set this machine's clock: certificates and sessions are refused" })
  applyLists(revocations, hello.revocations)
  const verified = verifyPeer({ certificate, expect: { role: "gateway" }, trust: identity.trust, revocations, nowMs: clock.now() })
  watchIdentity({ peer, verified, revocations, clock, log })
  log.info("link ready", { gateway: verified.identity.name, skewMs })
}

function applyLists(revocations: RevocationLists, lists: HelloResult["revocations"]): void {
  for (const list of lists) revocations.apply(list)
}
