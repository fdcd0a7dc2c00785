import { connect, createServer } from "node:tls"
import type { Server, TLSSocket } from "node:tls"
import type { AddressInfo } from "node:net"
import type { GatewayAddress, TlsIdentity } from "../../src/wire/link/tls.ts"

/** Both directions of one connection after TLS, as they came. */
interface Conversation {
  readonly toGateway: Buffer[]
  readonly fromGateway: Buffer[]
}

export interface TapOptions {
  /** What the gateway shows: the tap shows the same to who connects. */
  readonly gateway: TlsIdentity
  /** What the tapped end shows to the gateway, and the tap in its place. Undefined for none. */
  readonly client: TlsIdentity | undefined
  readonly upstream: GatewayAddress
}

/**
 * Ends the TLS of one client in front of a gateway and begins it anew behind, with the keys of both,
 * so that every byte that the gateway gets and sends after TLS is seen. It changes nothing.
 */
export class TlsTap {
  readonly #server: Server
  readonly #options: TapOptions
  readonly #conversations: Conversation[] = []
  readonly #streams = new Set<TLSSocket>()

  constructor(options: TapOptions) {
    this.#options = options
    const { certificatePem, keyPem } = options.gateway
    this.#server = createServer({
      cert: certificatePem, key: keyPem, minVersion: "TLSv1.3", requestCert: true, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"],
    }, (stream) => { this.#tap(stream) })
  }

  static async open(options: TapOptions): Promise<TlsTap> {
    const tap = new TlsTap(options)
    await new Promise<void>((resolve) => { tap.#server.listen(0, "127.0.0.1", resolve) })
    return tap
  }

  get address(): GatewayAddress {
    return { host: "127.0.0.1", port: (this.#server.address() as AddressInfo).port }
  }

  /** Everything so far: both directions as they came, and what clients masked also unmasked. */
  captured(): Buffer {
    return Buffer.concat(this.#conversations.flatMap(({ toGateway, fromGateway }) => {
      const sent = Buffer.concat(toGateway)
      return [sent, unmasked(sent), ...fromGateway]
    }))
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => { this.#server.close(() => { resolve() }) })
    for (const stream of this.#streams) stream.destroy()
    await closed
  }

  #tap(inner: TLSSocket): void {
    const { upstream, client } = this.#options
    const outer = connect({
      host: upstream.host, port: upstream.port, minVersion: "TLSv1.3", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"],
      ...(client ? { cert: client.certificatePem, key: client.keyPem } : {}),
    })
    const conversation: Conversation = { toGateway: [], fromGateway: [] }
    this.#conversations.push(conversation)
    this.#pass(inner, outer, conversation.toGateway)
    this.#pass(outer, inner, conversation.fromGateway)
  }

  #pass(from: TLSSocket, to: TLSSocket, record: Buffer[]): void {
    this.#streams.add(from)
    from.on("data", (chunk: Buffer) => {
      record.push(chunk)
      to.write(chunk)
    })
    from.on("end", () => to.end())
    from.on("error", () => to.destroy())
    from.on("close", () => {
      this.#streams.delete(from)
      to.destroy()
    })
  }
}

/** The payloads of a client's WebSocket frames (RFC 6455, section 5.2), which follow its HTTP request. */
function unmasked(stream: Buffer): Buffer {
  const payloads: Buffer[] = []
  const head = stream.indexOf("\r\n\r\n")
  let at = head === -1 ? stream.length : head + 4
  while (at + 6 <= stream.length) {
    const short = stream.readUInt8(at + 1) & 0x7f
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const length = lengthBytes === 0 ? short : stream.readUIntBE(at + 2 + Math.max(0, lengthBytes - 6), Math.min(6, lengthBytes))
    const maskAt = at + 2 + lengthBytes
    const mask = stream.subarray(maskAt, maskAt + 4)
    const payload = Buffer.from(stream.subarray(maskAt + 4, maskAt + 4 + length))
    payload.forEach((byte, index) => { payload[index] = byte ^ (mask[index % 4] ?? 0) })
    payloads.push(payload)
    at = maskAt + 4 + length
  }
  return Buffer.concat(payloads)
}
