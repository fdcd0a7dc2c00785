import { bytesOf } from "../base/bytes.ts"
import { codeOf } from "../base/errors.ts"
import type { WireHandlers } from "../wire/link/gateway-link.ts"
import type { Alarm } from "./alarm.ts"
import type { Records } from "./storage/records.ts"

export interface ConnectorServiceOptions {
  readonly tenant: string
  readonly connector: string
  readonly records: Records
  readonly alarm: Alarm
}

/** What the gateway answers to one connector. The tenant is the one of its certificate. */
export function createConnectorHandlers(options: ConnectorServiceOptions): WireHandlers {
  const { tenant, connector, records, alarm } = options
  return {
    "records.put": async (params) => {
      try {
        await records.put(tenant, params.records.map(({ user, version, record }) => ({ user, version, sealed: bytesOf(record) })))
      } catch (error) {
        // Two values for one version: two creators, or a forged copy. Never merged.
        if (codeOf(error) === "ERR_RECORD_CONFLICT") await alarm({ tenant, kind: "record conflict", detail: `connector ${connector} offered another record for a known version` })
        throw error
      }
      return { stored: params.records.length }
    },
  }
}
