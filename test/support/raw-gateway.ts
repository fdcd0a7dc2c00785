import { once } from "node:events"
import { createServer } from "node:https"
import type { Server } from "node:https"
import type { IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type { TLSSocket } from "node:tls"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { GatewayAddress } from "../../src/wire/link/tls.ts"
import { createUpgrader } from "../../src/wire/rpc/websocket.ts"

export type RawSocket = Awaited<ReturnType<ReturnType<typeof createUpgrader>>>

/** A TLS listener in the gateway's place that does with a connection whatever a test wants. */
export class RawGateway {
  /** Called for each upgrade request; default: answered, and each text frame goes to `onText`. */
  onUpgrade: (request: IncomingMessage, stream: Duplex, head: Buffer) => void = (request, stream, head) => { void this.#accept(request, stream, head) }
  onText: (text: string, socket: RawSocket) => void = () => undefined
  /** How many upgrades were asked for. */
  upgrades = 0
  /** The close codes that the other ends gave. */
  readonly closes: number[] = []
  readonly paths: (string | undefined)[] = []
  readonly sockets: RawSocket[] = []
  /** The certificate that the last client showed. */
  client: string | undefined
  readonly #server: Server
  readonly #connections = new Set<Duplex>()
  readonly #upgrade = createUpgrader()

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(identity: LocalIdentity): Promise<RawGateway> {
    const server = createServer({ cert: identity.certificatePem, key: identity.keyPem, minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: false })
    const gateway = new RawGateway(server)
    server.on("connection", (connection: Duplex) => {
      gateway.#connections.add(connection)
      connection.on("error", () => undefined)
    })
    server.on("tlsClientError", () => undefined)
    server.on("upgrade", (request: IncomingMessage, stream: TLSSocket, head: Buffer) => {
      gateway.upgrades += 1
      gateway.paths.push(request.url)
      gateway.client = stream.getPeerX509Certificate()?.toString()
      stream.on("error", () => undefined)
      gateway.onUpgrade(request, stream, head)
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return gateway
  }

  get address(): GatewayAddress {
    return { host: "127.0.0.1", port: (this.#server.address() as AddressInfo).port }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }

  async #accept(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const socket = await this.#upgrade(request, stream, head)
    this.sockets.push(socket)
    socket.on("message", (data: Buffer) => { this.onText(data.toString(), socket) })
    socket.on("close", (code) => { this.closes.push(code) })
    socket.on("error", () => undefined)
  }
}
