import { chmod, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { connect } from "node:net"
import { relative } from "node:path"
import type { Clock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import { CLOSE_CODES } from "../limits.ts"
import { RpcPeer } from "./peer.ts"
import type { Handlers, MethodTable } from "./peer.ts"
import { createUpgrader, openWebSocket, WebSocketFrames } from "./websocket.ts"

/** The HTTP path and host of a local socket carry no meaning; HTTP wants some. */
const LOCAL_PATH = "/"
const LOCAL_HOST = "localhost"

export interface LocalOptions<T extends MethodTable> {
  /** A Unix socket's path, or a Windows named pipe. Who may open the file may call. */
  readonly path: string
  readonly methods: T
  readonly clock: Clock
  readonly log: Logger
}

export interface ServeLocalOptions<T extends MethodTable> extends LocalOptions<T> {
  readonly handlers: Handlers<T>
  /** The socket's group may call too (mode 0660); otherwise only its owner (0600). */
  readonly groupAccess?: boolean
}

/** Serves `handlers` on a local socket. Replaces a socket that a dead process left behind. */
export async function serveLocal<T extends MethodTable>(options: ServeLocalOptions<T>): Promise<{ close(): Promise<void> }> {
  const { methods, handlers, clock, log } = options
  const path = bindable(options.path)
  await removeDeadSocket(path)
  const peers = new Set<RpcPeer<T>>()
  const upgrade = createUpgrader()
  const server = createServer((_request, response) => response.writeHead(426).end())
  server.on("upgrade", (request, stream, head) => {
    void upgrade(request, stream, head).then((socket) => {
      const frames = new WebSocketFrames({ socket, stream, clock, random: () => 0, heartbeat: "none" })
      const peer = new RpcPeer({ socket: frames, methods, handlers, clock, log })
      peers.add(peer)
      void peer.closed.then(() => peers.delete(peer))
    })
  })
  const { promise: listening, resolve, reject } = Promise.withResolvers<undefined>()
  server.once("error", (cause) => { reject(new EkeyError("ERR_FILE", `can't listen on the local socket ${path}`, { cause })) })
  // The umask makes the socket private from its first moment; chmod then states its mode.
  const umask = process.umask(0o177)
  server.listen(path, () => { resolve(undefined) })
  process.umask(umask)
  await listening
  if (process.platform !== "win32") await chmod(path, options.groupAccess ? 0o660 : 0o600)
  return {
    close: async () => {
      for (const peer of peers) peer.close(CLOSE_CODES.goingAway, "shutting down")
      const { promise, resolve: done } = Promise.withResolvers<undefined>()
      server.close(() => { done(undefined) })
      server.closeAllConnections()
      await Promise.all([...peers].map((peer) => peer.closed))
      await promise
    },
  }
}

/** @throws EkeyError ERR_UNREACHABLE when nobody listens there. */
export async function connectLocal<T extends MethodTable>(options: LocalOptions<T>): Promise<RpcPeer<T>> {
  const { methods, clock, log } = options
  const path = bindable(options.path)
  const stream = connect(path)
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  stream.once("connect", () => { resolve(undefined) })
  stream.once("error", (cause) => { reject(new EkeyError("ERR_UNREACHABLE", `nobody listens on the local socket ${path}`, { cause })) })
  await promise
  const socket = await openWebSocket(stream, LOCAL_PATH, LOCAL_HOST)
  return new RpcPeer({ socket: new WebSocketFrames({ socket, stream, clock, random: () => 0, heartbeat: "none" }), methods, handlers: {}, clock, log })
}

/** unix(7): `sun_path` has 108 bytes, the last of them zero. macOS has four fewer. */
const MAX_PATH_BYTES = 103

/** The path, or the same relative to the working folder where that is shorter. */
function bindable(path: string): string {
  if (process.platform === "win32") return path
  const fromHere = relative(process.cwd(), path)
  const shorter = fromHere !== "" && Buffer.byteLength(fromHere) < Buffer.byteLength(path) ? fromHere : path
  if (Buffer.byteLength(shorter) > MAX_PATH_BYTES) throw new EkeyError("ERR_CONFIG", `the local socket's path is too long for the system (${String(MAX_PATH_BYTES)} bytes): choose a data folder with a shorter path`)
  return shorter
}

/** A socket file that nobody answers on is left over from a process that was killed. */
async function removeDeadSocket(path: string): Promise<void> {
  if (process.platform === "win32") return
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const probe = connect(path)
  probe.once("connect", () => { resolve(true) })
  probe.once("error", () => { resolve(false) })
  const alive = await promise
  probe.destroy()
  if (alive) throw new EkeyError("ERR_FILE", `another process listens on the local socket ${path}`)
  await rm(path, { force: true })
}
