import { cp, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { KeyObject } from "node:crypto"
import { createAuthority } from "../../src/authority/authority.ts"
import type { Authority } from "../../src/authority/authority.ts"
import { mintToken } from "../../src/authority/admin.ts"
import type { AdminPlace } from "../../src/authority/admin.ts"
import type { LogFields, Logger } from "../../src/base/logger.ts"
import { acceptEnrolment, acceptRenewal, prepareEnrolment, prepareRenewal } from "../../src/wire/identity/certificate-request.ts"
import type { LocalIdentity } from "../../src/wire/identity/identity-folder.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import { START_MS } from "../support/fake-clock.ts"
import { testKey, TRUST_DOMAIN } from "../support/identities.ts"

export interface LoggedEvent {
  readonly event: string
  readonly fields: LogFields
}

/** Three authorities on one folder with roots of their own, made once and copied for each scene. */
let template: Promise<string> | undefined

async function makeTemplate(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ekey-authorities-"))
  const quiet = recorder([])
  for (const role of ["gateway", "connector", "worker"] as const) {
    await createAuthority({ role, folder, trustDomain: TRUST_DOMAIN, clock: { now: () => START_MS }, log: quiet, rsaBits: 2048 })
  }
  return folder
}

/** Removes what scenes share. For an `after` hook. */
export async function removeTemplate(): Promise<void> {
  const made = template
  template = undefined
  if (made) await rm(await made, { recursive: true })
}

/** Authorities on disk, a clock that is turned by hand, and what they log. */
export class Scene {
  readonly folder: string
  readonly events: LoggedEvent[] = []
  readonly clock = {
    nowMs: START_MS,
    now: (): number => {
      this.#beforeNow.shift()?.()
      return this.clock.nowMs
    },
  }
  #beforeNow: (() => void)[] = []
  readonly log: Logger = recorder(this.events)

  constructor(folder: string) {
    this.folder = folder
  }

  static async open(): Promise<Scene> {
    template ??= makeTemplate()
    const folder = await mkdtemp(join(tmpdir(), "ekey-authority-"))
    await cp(await template, folder, { recursive: true })
    return new Scene(folder)
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true })
  }

  /**
   * Runs `interfere` while a request is being issued: an authority asks for the time when it checks
   * a request and once more when it signs.
   */
  interfereWhileIssuing(interfere: () => void): void {
    this.#beforeNow = [() => undefined, interfere]
  }

  place(role: Role): AdminPlace {
    return { role, folder: this.folder, trustDomain: TRUST_DOMAIN, clock: this.clock }
  }

  authority(role: Role): Promise<Authority> {
    return createAuthority({ ...this.place(role), log: this.log, rsaBits: 2048 })
  }

  /** A whole enrolment: token, request, answer, judged. */
  async enrol(role: Role, name: string, key: KeyObject, tenant: string | null = role === "gateway" ? null : "acme"): Promise<LocalIdentity> {
    const authority = await this.authority(role)
    const token = await mintToken(this.place(role), { tenant, name })
    const { params } = await prepareEnrolment(token, { privateKey: key })
    return acceptEnrolment(token, key, await authority.enrol(params), this.clock.now())
  }

  async renew(current: LocalIdentity, key: KeyObject): Promise<LocalIdentity> {
    const authority = await this.authority(current.identity.role)
    const { params } = await prepareRenewal(current, { privateKey: key, nowMs: this.clock.now() })
    return acceptRenewal(current, key, await authority.renew(params), this.clock.now())
  }

  reasons(event: string): unknown[] {
    return this.events.filter((logged) => logged.event === event).map(({ fields }) => fields["reason"] ?? fields["code"])
  }
}

/** Keys that no test's own client uses: whatever an attacker makes. */
export function attackerKey(): Promise<KeyObject> {
  return testKey(9)
}

function recorder(events: LoggedEvent[]): Logger {
  const record = (event: string, fields: LogFields = {}): void => { events.push({ event, fields }) }
  return { debug: record, info: record, warn: record, error: record }
}
