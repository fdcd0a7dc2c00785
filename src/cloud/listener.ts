import type { IncomingMessage } from "node:http"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"
import type { Clock } from "../base/clock.ts"
import { describeError, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { LocalIdentity } from "../wire/identity/identity-folder.ts"
import type { RevocationLists } from "../wire/identity/revocation.ts"
import { formatSpiffeId } from "../wire/identity/spiffe.ts"
import { verifyPeer } from "../wire/identity/verification.ts"
import type { VerifiedPeer } from "../wire/identity/verification.ts"
import { watchIdentity } from "../wire/link/identity-watch.ts"
import type { WireHandlers, WirePeer } from "../wire/link/gateway-link.ts"
import { PATHS } from "../wire/limits.ts"
import { METHODS } from "../wire/methods.ts"
import { RpcPeer } from "../wire/rpc/peer.ts"
import { createUpgrader, offersSubprotocol, REFUSAL_HEADER, WebSocketFrames } from "../wire/rpc/websocket.ts"

/** A connection whose other end showed who it is. */
export interface Arrival {
  readonly verified: VerifiedPeer
  /** The tenant of its certificate. */
  readonly tenant: string
}

export interface ListenerOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly identity: () => LocalIdentity
  readonly revocations: RevocationLists
  /** What is answered to each role; `peer` is the conversation itself, for calls in the other direction. */
  readonly serve: {
    readonly connector: (arrival: Arrival, peer: () => WirePeer) => WireHandlers
    readonly worker: (arrival: Arrival, peer: () => WirePeer) => WireHandlers
    readonly enrol: () => WireHandlers
  }
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

export interface Listener {
  readonly port: number
  /** Shows a renewed certificate to everybody who connects from now on. */
  useIdentity(identity: LocalIdentity): void
  close(): Promise<void>
}

/** Anybody may ask for enrolment: few at once, and not for long. */
const MAX_ENROLLING = 64
const ENROL_WITHIN_MS = 30_000
const HEADERS_WITHIN_MS = 10_000

/**
 * The gateway's door: TLS 1.3 with a certificate asked for, each upgrade judged in our own code
 * (OpenSSL calls an expired certificate of a resumed session authorized), one path for each role.
 */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { host, port, log } = options
  const door = new Door(options)
  const { certificatePem, keyPem } = options.identity()
  const server = createServer({ cert: certificatePem, key: keyPem, minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: false })
  // Those that have not got as far as HTTP too, which the server itself does not count.
  const connections = new Set<Duplex>()
  server.on("connection", (connection: Duplex) => {
    connections.add(connection)
    connection.once("close", () => connections.delete(connection))
  })
  server.headersTimeout = HEADERS_WITHIN_MS
  server.on("request", (_request, response) => response.writeHead(426, { upgrade: "websocket" }).end())
  server.on("tlsClientError", (error) => { log.debug("tls handshake failed", describeError(error)) })
  server.on("upgrade", (request, stream, head) => {
    stream.on("error", (error) => { log.debug("connection failed", describeError(error)) })
    door.answer(request, stream, head).catch((error: unknown) => {
      log.error("upgrade failed", describeError(error))
      stream.destroy()
    })
  })
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  server.once("error", (cause) => { reject(new EkeyError("ERR_CONFIG", `can't listen on ${host}:${String(port)}`, { cause })) })
  server.listen(port, host, () => { resolve(undefined) })
  await promise
  return {
    port: portOf(server.address()),
    useIdentity: (identity) => { server.setSecureContext({ cert: identity.certificatePem, key: identity.keyPem, minVersion: "TLSv1.3" }) },
    close: async () => {
      const { promise: closed, resolve: done } = Promise.withResolvers<undefined>()
      server.close(() => { done(undefined) })
      await door.closeAll()
      for (const connection of connections) connection.destroy()
      await closed
    },
  }
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === "object" && address !== null ? address.port : 0
}

/** Judges upgrades and starts the conversations. */
class Door {
  readonly #options: ListenerOptions
  readonly #upgrade = createUpgrader()
  readonly #peers = new Set<WirePeer>()
  #enrolling = 0

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  async answer(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const { serve } = this.#options
    if (!offersSubprotocol(request)) {
      this.#refuse(request, stream, new EkeyError("ERR_VERSION", "no protocol version in common"))
      return
    }
    switch (request.url) {
      case PATHS.connector:
        await this.#admit("connector", serve.connector, request, stream, head)
        return
      case PATHS.worker:
        await this.#admit("worker", serve.worker, request, stream, head)
        return
      case PATHS.enrol:
        await this.#enrol(request, stream, head)
        return
      default:
        endWith(stream, "404 Not Found")
    }
  }

  async closeAll(): Promise<void> {
    for (const peer of this.#peers) peer.close(1001, "shutting down")
    await Promise.all([...this.#peers].map((peer) => peer.closed))
  }

  async #admit(role: "connector" | "worker", serve: ListenerOptions["serve"]["connector"], request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const { identity, revocations, clock, log } = this.#options
    let arrival: Arrival
    try {
      const certificate = stream instanceof TLSSocket ? stream.getPeerX509Certificate() : undefined
      const verified = verifyPeer({ certificate, expect: { role }, trust: identity().trust, revocations, nowMs: clock.now() })
      const { tenant } = verified.identity
      if (tenant === null) throw new EkeyError("ERR_CERT_TENANT", "the certificate names no tenant")
      arrival = { verified, tenant }
    } catch (error) {
      this.#refuse(request, stream, error instanceof EkeyError ? error : new EkeyError("ERR_CERT_MALFORMED", "the certificate can't be judged", { cause: error }))
      return
    }
    const peer = await this.#converse(request, stream, head, (self) => serve(arrival, self), "expect")
    watchIdentity({ peer, verified: arrival.verified, revocations, clock, log })
    log.info("peer connected", { peer: formatSpiffeId(arrival.verified.identity) })
  }

  async #enrol(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    if (this.#enrolling >= MAX_ENROLLING) {
      endWith(stream, "503 Service Unavailable")
      return
    }
    this.#enrolling += 1
    stream.once("close", () => { this.#enrolling -= 1 })
    const peer = await this.#converse(request, stream, head, () => this.#options.serve.enrol(), "none")
    const cancel = this.#options.clock.after(ENROL_WITHIN_MS, () => { peer.close(1001, "enrolment took too long") })
    void peer.closed.then(cancel)
  }

  async #converse(request: IncomingMessage, stream: Duplex, head: Buffer, serve: (self: () => WirePeer) => WireHandlers, heartbeat: "expect" | "none"): Promise<WirePeer> {
    const { clock, random, log } = this.#options
    const socket = await this.#upgrade(request, stream, head)
    const peer: WirePeer = new RpcPeer({
      socket: new WebSocketFrames({ socket, stream, clock, random, heartbeat }),
      methods: METHODS,
      handlers: serve(() => peer),
      clock,
      log,
    })
    this.#peers.add(peer)
    void peer.closed.then(() => this.#peers.delete(peer))
    return peer
  }

  /** The reason is named in the log, and by its code to the peer, whose own log is where its admin looks. */
  #refuse(request: IncomingMessage, stream: Duplex, error: EkeyError): void {
    this.#options.log.warn("upgrade refused", { ...describeError(error), path: request.url, remote: request.socket.remoteAddress })
    endWith(stream, error.retryable ? "503 Service Unavailable" : "403 Forbidden", `${REFUSAL_HEADER}: ${error.code}\r\n`)
  }
}

/** Answers and hangs up: who was refused does not keep the connection by leaving its own half open. */
function endWith(stream: Duplex, status: string, header = ""): void {
  stream.once("finish", () => { stream.destroy() })
  stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n${header}\r\n`)
}
