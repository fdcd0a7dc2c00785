import type { Clock } from "../../src/base/clock.ts"
import { silentLogger } from "../../src/base/logger.ts"
import type { WireHandlers, WirePeer } from "../../src/wire/link/gateway-link.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { RpcPeer } from "../../src/wire/rpc/peer.ts"
import { PipeEnd } from "./frame-pipe.ts"

/** Two ends of a conversation in memory; the far one answers with `handlers`. */
export function connectPeers(clock: Clock, handlers: WireHandlers): { near: WirePeer; far: WirePeer } {
  const [nearEnd, farEnd] = PipeEnd.pair()
  return {
    near: new RpcPeer({ socket: nearEnd, methods: METHODS, handlers: {}, clock, log: silentLogger }),
    far: new RpcPeer({ socket: farEnd, methods: METHODS, handlers, clock, log: silentLogger }),
  }
}
