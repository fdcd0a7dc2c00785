import type { Logger } from "../base/logger.ts"
import type { Alarms } from "./storage/alarms.ts"

/** Something that a person must look at: a stored row and a log event. */
export type Alarm = (alarm: { readonly tenant: string | null; readonly kind: string; readonly detail: string }) => Promise<void>

export function createAlarm(alarms: Alarms, log: Logger): Alarm {
  return async ({ tenant, kind, detail }) => {
    log.error("alarm", { tenant, kind, detail })
    await alarms.raise({ tenant, kind, detail })
  }
}
