import type { Member } from "../../src/cloud/registry.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import type { WireHandlers, WirePeer } from "../../src/wire/link/gateway-link.ts"
import { METHODS } from "../../src/wire/methods.ts"
import { RpcPeer } from "../../src/wire/rpc/peer.ts"
import { publicKeyOf } from "../../src/crypto/rsa.ts"
import type { Clock } from "../../src/base/clock.ts"
import { EventLog } from "./event-log.ts"
import { PipeEnd } from "./frame-pipe.ts"
import { testKey, testSerial, TRUST_DOMAIN } from "./identities.ts"

export interface MemberOptions {
  readonly clock: Clock
  readonly role?: Exclude<Role, "gateway">
  readonly tenant?: string
  readonly name?: string
  /** Default: the name. */
  readonly slot?: string
  readonly jobs?: readonly string[]
  /** What the member answers to the gateway. */
  readonly handlers?: WireHandlers
}

export interface TestMember {
  /** As the gateway has it in its registry. */
  readonly member: Member
  /** The member's own end. */
  readonly far: WirePeer
}

/** A peer that is connected to the gateway through memory, as a registry holds it. */
export async function openMember(options: MemberOptions): Promise<TestMember> {
  const { clock, role = "connector", tenant = "acme", name = `${role}-1`, slot = name, jobs = [], handlers = {} } = options
  const [near, remote] = PipeEnd.pair()
  const open = (socket: PipeEnd, answers: WireHandlers): WirePeer => new RpcPeer({ socket, methods: METHODS, handlers: answers, clock, log: new EventLog() })
  const verified = {
    identity: { trustDomain: TRUST_DOMAIN, role, tenant, name }, serial: testSerial(), notAfterMs: clock.now() + 24 * 60 * 60_000,
    publicKey: publicKeyOf(await testKey(0)), certificate: new Uint8Array(),
  }
  return { member: { peer: open(near, {}), verified, tenant, name, slot, jobs: new Set(jobs) }, far: open(remote, handlers) }
}
