import type { Clock } from "../../base/clock.ts"
import { backoffMs, jitterMs } from "../../base/backoff.ts"
import { describeError } from "../../base/errors.ts"
import type { Logger } from "../../base/logger.ts"
import type { CertificateRenewParams, CertificateRenewResult } from "../messages/certificate.ts"
import { acceptRenewal, prepareRenewal } from "./certificate-request.ts"
import type { IdentityFolder, LocalIdentity } from "./identity-folder.ts"
import type { OwnIdentity } from "./own-identity.ts"

/** Polled, since a suspended host misses a long timer. */
const CHECK_EVERY_MS = 15 * 60_000
const RETRY = { baseMs: 60_000, capMs: 60 * 60_000 }
const RENEW_WITHIN_MS = 30_000

export interface RenewalOptions {
  readonly folder: IdentityFolder
  readonly own: OwnIdentity
  /** Sends the request to the authority, through whatever leads there. */
  readonly send: (params: Omit<CertificateRenewParams, "deadlineMs">, deadlineMs: number) => Promise<CertificateRenewResult>
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

/** Renews the certificate at half of its life, give or take 10 %, until the signal. */
export async function keepRenewed(options: RenewalOptions, signal: AbortSignal): Promise<void> {
  const { own, clock, random, log } = options
  let failures = 0
  let dueMs = dueAt(own.current(), random)
  while (!signal.aborted) {
    if (clock.now() >= dueMs) {
      try {
        await renew(options)
        failures = 0
        dueMs = dueAt(own.current(), random)
      } catch (error) {
        failures += 1
        log.warn("certificate not renewed", { notAfterMs: own.current().notAfterMs, ...describeError(error) })
      }
    }
    const waitMs = failures === 0 ? Math.min(CHECK_EVERY_MS, Math.max(1000, dueMs - clock.now())) : Math.max(1000, backoffMs(failures, RETRY, random))
    await clock.sleep(waitMs, signal).catch(() => undefined) // Aborted: the loop condition ends it.
  }
}

/** Asks for the next certificate with a new key, and makes it this process's own. */
export async function renew({ folder, own, send, clock, log }: RenewalOptions): Promise<void> {
  const current = own.current()
  const pending = await folder.pendingKey(current.serial)
  const { privateKey, params: { deadlineMs: _, ...params } } = await prepareRenewal(current, { privateKey: pending, nowMs: clock.now() })
  const renewed = acceptRenewal(current, privateKey, await send(params, RENEW_WITHIN_MS), clock.now())
  await folder.save(renewed)
  own.replace(renewed)
  log.info("certificate renewed", { notAfterMs: renewed.notAfterMs })
}

function dueAt(identity: LocalIdentity, random: () => number): number {
  return identity.notBeforeMs + jitterMs((identity.notAfterMs - identity.notBeforeMs) / 2, 0.1, random)
}
