import { connect, createServer } from "node:net"
import type { AddressInfo, Server, Socket } from "node:net"

/** A way to a port that a test can cut or freeze: what networks do, and processes that die. */
export class TcpProxy {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #frozen = false
  /** What was sent into the void since `freeze`. */
  lostBytes = 0

  private constructor(server: Server) {
    const { port } = server.address() as AddressInfo
    this.port = port
    this.#server = server
  }

  /** `target` is asked at each connection, so that what it leads to may move. */
  static async open(target: () => number): Promise<TcpProxy> {
    const server = createServer((near) => { proxy.#join(near, connect(target(), "127.0.0.1")) })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const proxy = new TcpProxy(server)
    return proxy
  }

  /** Ends every connection without a goodbye. */
  cut(): void {
    this.#frozen = false
    this.lostBytes = 0
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Lets nothing through any more until `cut`, and tells nobody: a hung peer, a half-open connection. */
  freeze(): void {
    this.#frozen = true
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => { this.#server.close(() => { resolve() }) })
  }

  #join(near: Socket, far: Socket): void {
    for (const [from, to] of [[near, far], [far, near]] as const) {
      this.#sockets.add(from)
      from.on("data", (chunk) => {
        if (this.#frozen) this.lostBytes += chunk.length
        else to.write(chunk)
      })
      from.on("error", () => undefined)
      from.on("close", () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }
}
