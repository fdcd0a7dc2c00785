import { randomBytes } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import { createPolicy } from "../../src/connector/policy.ts"
import type { Policy } from "../../src/connector/policy.ts"
import { Releaser } from "../../src/connector/release.ts"
import { SessionTable } from "../../src/connector/sessions.ts"
import { generateKemKey } from "../../src/crypto/hpke.ts"
import { signPss } from "../../src/crypto/rsa.ts"
import { RecordSealer } from "../../src/crypto/sealed-record.ts"
import { encodeOffer } from "../../src/crypto/session-keys.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import type { WireHandlers } from "../../src/wire/link/gateway-link.ts"
import type { SessionOpenParams } from "../../src/wire/messages/session.ts"
import { EventLog } from "./event-log.ts"
import { FakeClock } from "./fake-clock.ts"
import { mintAuthorities } from "./identities.ts"
import type { TestAuthorities } from "./identities.ts"
import { MemoryStore, newMemoryDisk } from "./memory-store.ts"
import type { MemoryDisk } from "./memory-store.ts"

const MONTH_MS = 30 * 24 * 60 * 60_000

/** A connector's insides without a link, and a worker to ask it: what a gateway would only relay. */
export class Custody {
  readonly clock = new FakeClock()
  readonly log = new EventLog()
  readonly authorities: TestAuthorities
  readonly worker: LocalIdentity
  readonly revocations: RevocationLists
  readonly disk: MemoryDisk = newMemoryDisk()
  readonly store = new MemoryStore("acme", this.disk)
  /** Every ekey that was opened, in the very buffer that the connector got. */
  readonly openedBuffers: Buffer[] = []
  readonly sealer: RecordSealer
  readonly table: SessionTable
  readonly releaser: Releaser
  /** Replace to change what the connector shows, or what it allows. */
  identity: LocalIdentity
  policy: Policy = createPolicy({ workflows: ["backup.*"] })

  constructor(parts: { authorities: TestAuthorities; identity: LocalIdentity; worker: LocalIdentity }) {
    this.authorities = parts.authorities
    this.identity = parts.identity
    this.worker = parts.worker
    const { clock, log, store } = this
    this.revocations = new RevocationLists({ trust: this.authorities.trust, clock })
    const revocations = this.revocations
    this.sealer = new WatchedSealer(this.openedBuffers)
    this.table = new SessionTable({ identity: () => this.identity, revocations, clock, log })
    this.releaser = new Releaser({ store, sealer: this.sealer, sessions: this.table, policy: () => this.policy, revocations, clock, log })
  }

  static async open(): Promise<Custody> {
    const authorities = await mintAuthorities()
    const notAfterMs = authorities.nowMs + MONTH_MS
    const custody = new Custody({
      authorities, identity: await authorities.identity({ role: "connector", notAfterMs }), worker: await authorities.identity({ role: "worker", notAfterMs }),
    })
    for (const role of ROLES) custody.revocations.apply(await authorities.revocationList(role))
    return custody
  }

  /** Stores an ekey whose second copy is there already, unless told otherwise. */
  async addEkey(user: string, options: { version?: number; acknowledged?: boolean } = {}): Promise<Buffer> {
    const { version = 1, acknowledged = true } = options
    const ekey = randomBytes(32)
    await this.store.create({ user, version }, this.sealer.seal({ user, version }, ekey, this.clock.now()))
    if (acknowledged) await this.store.acknowledge([{ user, version }])
    return ekey
  }

  /** A well-made offer, signed over what it says after the changes, unless they bring a signature. */
  async offer(changes: Partial<SessionOpenParams> = {}, by: Pick<LocalIdentity, "certificateDer" | "privateKey"> = this.worker): Promise<SessionOpenParams> {
    const params = {
      certificate: toBase64url(by.certificateDer), kemPublicKey: toBase64url((await generateKemKey()).publicKey), nonce: toBase64url(randomBytes(16)),
      issuedAtMs: this.clock.now(), deadlineMs: 1_000, ...changes,
    }
    const bytes = (text: string): Buffer => Buffer.from(text, "base64url")
    const offer = encodeOffer({
      workerCertificate: bytes(params.certificate), kemPublicKey: bytes(params.kemPublicKey), nonce: bytes(params.nonce), issuedAtMs: params.issuedAtMs,
    })
    return { ...params, signature: changes.signature ?? toBase64url(await signPss(by.privateKey, offer)) }
  }

  /** What a gateway that relays honestly answers to a worker. */
  handlers() {
    return {
      "operation.begin": async () => ({ operation: toBase64url(randomBytes(16)) }),
      "operation.end": async () => ({}),
      "session.open": (params) => this.table.open(params),
      "ekey.release": (params) => this.releaser.release(params),
      "ekey.releaseMany": (params) => this.releaser.releaseMany(params),
    } satisfies WireHandlers
  }
}

/** Keeps the buffers that it hands out, so that a test can see whether they were overwritten. */
class WatchedSealer extends RecordSealer {
  readonly #opened: Buffer[]

  constructor(opened: Buffer[]) {
    super({ rootKey: Buffer.alloc(32, 7), tenant: "acme" })
    this.#opened = opened
  }

  override open(...args: Parameters<RecordSealer["open"]>): Buffer {
    const ekey = super.open(...args)
    this.#opened.push(ekey)
    return ekey
  }
}
