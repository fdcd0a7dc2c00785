import type { Clock } from "../../base/clock.ts"
import type { Logger } from "../../base/logger.ts"
import { EkeyError } from "../../base/errors.ts"
import { acceptEnrolment, prepareEnrolment } from "../identity/certificate-request.ts"
import type { IdentityFolder, LocalIdentity } from "../identity/identity-folder.ts"
import type { EnrolmentToken } from "../identity/token.ts"
import { verifyPeer } from "../identity/verification.ts"
import { CLOSE_CODES, PATHS } from "../limits.ts"
import { METHODS } from "../methods.ts"
import { RpcPeer } from "../rpc/peer.ts"
import { openWebSocket, WebSocketFrames } from "../rpc/websocket.ts"
import type { WirePeer } from "./gateway-link.ts"
import { connectTls } from "./tls.ts"
import type { GatewayAddress } from "./tls.ts"

const ENROL_WITHIN_MS = 30_000

export interface EnrolmentOptions {
  readonly address: GatewayAddress
  readonly token: EnrolmentToken
  readonly folder: IdentityFolder
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Enrols through a gateway: the token's secret proves the request without being sent, and the answer
 * counts only if it fits the token's pins. Repeating it after a lost answer gives the same certificate.
 * @throws EkeyError ERR_TOKEN from the authority, ERR_ENROLMENT when somebody on the way lied, ERR_UNREACHABLE.
 */
export async function enrolThroughGateway(options: EnrolmentOptions): Promise<LocalIdentity> {
  const { address, clock, log, signal } = options
  const stream = await connectTls(address, undefined, signal)
  try {
    const certificate = stream.getPeerX509Certificate()
    const socket = await openWebSocket(stream, PATHS.enrol, address.host, signal)
    const peer = new RpcPeer({ socket: new WebSocketFrames({ socket, stream, clock, random: () => 0, heartbeat: "none" }), methods: METHODS, handlers: {}, clock, log })
    const identity = await enrolWith(peer, options)
    // Only now are the roots known with which the gateway itself can be judged.
    verifyPeer({ certificate, expect: { role: "gateway" }, trust: identity.trust, revocations: "later", nowMs: clock.now() })
    await options.folder.save(identity)
    peer.close(CLOSE_CODES.normal, "enrolled")
    await peer.closed
    return identity
  } catch (error) {
    stream.destroy()
    throw error instanceof EkeyError ? error : new EkeyError("ERR_UNREACHABLE", "no answer from the gateway", { cause: error })
  }
}

/** Enrols over a conversation that leads to the authority; the caller saves the identity. */
export async function enrolWith(peer: WirePeer, { token, folder, clock }: Pick<EnrolmentOptions, "token" | "folder" | "clock">): Promise<LocalIdentity> {
  const { privateKey, params: { deadlineMs: _, ...params } } = await prepareEnrolment(token, { privateKey: await folder.pendingKey(token.id) })
  const result = await peer.call("certificate.enrol", params, ENROL_WITHIN_MS)
  return acceptEnrolment(token, privateKey, result, clock.now())
}
