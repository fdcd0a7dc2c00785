import { randomBytes } from "node:crypto"
import { toBase64url } from "../../src/base/bytes.ts"
import type { Clock } from "../../src/base/clock.ts"
import { EkeyError } from "../../src/base/errors.ts"
import { Secret } from "../../src/base/secret.ts"
import { RevocationLists } from "../../src/wire/identity/revocation.ts"
import { createTrust } from "../../src/wire/identity/trust.ts"
import type { Outcome } from "../../src/wire/messages/operation.ts"
import { EkeyClient, Operation } from "../../src/worker/client.ts"
import type { ClientOptions, OperationOptions, ReleasedEkey } from "../../src/worker/client.ts"
import { Sessions } from "../../src/worker/sessions.ts"
import { TRUST_DOMAIN } from "./identities.ts"

function offline(clock: Clock): ClientOptions {
  return {
    clock,
    link: { peer: undefined, ready: () => Promise.reject(new EkeyError("ERR_UNREACHABLE", "there is no gateway here")) },
    identity: () => { throw new Error("there is no identity here") },
    revocations: new RevocationLists({ trust: createTrust({ trustDomain: TRUST_DOMAIN, roots: {} }), clock }),
  }
}

/** A client without a gateway: it releases one ekey for every user, unless a test has it do something else. */
export class FakeClient extends EkeyClient {
  readonly ekey = randomBytes(32)
  readonly begun: OperationOptions[] = []
  readonly asked: string[] = []
  readonly ended: Outcome[] = []
  /** What was handed out: to see that it was wiped. */
  readonly handedOut: Buffer[] = []
  /** Each may wait or reject. */
  onBegin: () => Promise<void> = () => Promise.resolve()
  onRelease: () => Promise<void> = () => Promise.resolve()
  onEnd: () => Promise<void> = () => Promise.resolve()
  readonly #clock: Clock

  constructor(clock: Clock) {
    super(offline(clock))
    this.#clock = clock
  }

  override async begin(options: OperationOptions): Promise<Operation> {
    this.begun.push(options)
    await this.onBegin()
    return new FakeOperation(this, this.#clock, options)
  }
}

class FakeOperation extends Operation {
  readonly #client: FakeClient

  constructor(client: FakeClient, clock: Clock, { workflow }: OperationOptions) {
    super(offline(clock), new Sessions(offline(clock)), toBase64url(randomBytes(16)), workflow)
    this.#client = client
  }

  override async release(user: string): Promise<ReleasedEkey> {
    this.#client.asked.push(user)
    await this.#client.onRelease()
    const ekey = Buffer.from(this.#client.ekey)
    this.#client.handedOut.push(ekey)
    return { user, version: 1, ekey: new Secret(ekey) }
  }

  override async end(outcome: Outcome): Promise<void> {
    this.#client.ended.push(outcome)
    await this.#client.onEnd()
  }
}
