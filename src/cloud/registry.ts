import type { VerifiedPeer } from "../wire/identity/verification.ts"
import { CLOSE_CODES } from "../wire/limits.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"

/** A peer that is connected and has said hello. */
export interface Member {
  readonly peer: WirePeer
  readonly verified: VerifiedPeer
  readonly tenant: string
  readonly name: string
  /**
   * What there can be one of: a newer link of the same slot takes the older one's place. A worker's
   * links that only ask for ekeys have a slot each.
   */
  readonly slot: string
  /** Jobs that a worker's link serves; empty for connectors. */
  readonly jobs: ReadonlySet<string>
}

/** Who of one role is connected now, by tenant. */
export class Registry {
  readonly #members = new Map<string, Map<string, Member>>()

  /** Adds a member until its connection ends. */
  add(member: Member): void {
    const ofTenant = this.#members.get(member.tenant) ?? new Map<string, Member>()
    this.#members.set(member.tenant, ofTenant)
    ofTenant.get(member.slot)?.peer.close(CLOSE_CODES.replaced, "another connection took this one's place")
    ofTenant.set(member.slot, member)
    void member.peer.closed.then(() => {
      if (ofTenant.get(member.slot) === member) ofTenant.delete(member.slot)
      if (ofTenant.size === 0 && this.#members.get(member.tenant) === ofTenant) this.#members.delete(member.tenant)
    })
  }

  /** The tenant's members that are connected now. */
  of(tenant: string): readonly Member[] {
    return [...(this.#members.get(tenant)?.values() ?? [])].filter((member) => member.peer.isOpen)
  }

  /** Everybody who is connected now. */
  all(): readonly Member[] {
    return [...this.#members.keys()].flatMap((tenant) => this.of(tenant))
  }
}
