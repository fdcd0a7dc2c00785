import { EkeyError } from "../base/errors.ts"
import type { WireHandlers } from "../wire/link/gateway-link.ts"
import type { Custodian } from "./custody/custodian.ts"
import type { OpenOperations } from "./operations.ts"
import type { Scheduler } from "./scheduler.ts"

/** The smallest time in which a relayed request can be answered; less is refused at once. */
const MIN_REMAINING_MS = 25

export interface WorkerServiceOptions {
  readonly tenant: string
  readonly worker: string
  readonly custodian: Custodian
  readonly operations: OpenOperations
  readonly scheduler: Scheduler
}

/** What the gateway answers to one worker. The tenant and the name are those of its certificate, never of a message. */
export function createWorkerHandlers(options: WorkerServiceOptions): WireHandlers {
  const { tenant, worker, custodian, operations, scheduler } = options
  return {
    "session.open": async ({ deadlineMs: _, ...params }, context) => {
      return await custodian.openSession(tenant, params, inTime(context.remainingMs()))
    },
    "operation.begin": async (params) => {
      return { operation: await operations.begin(tenant, worker, params) }
    },
    "operation.end": async (params) => {
      await operations.end(tenant, worker, params)
      return {}
    },
    // The way to the connector is free of waits, so that requests keep the order of their sequences.
    "ekey.release": async ({ deadlineMs: _, ...params }, context) => {
      const operation = operations.get(tenant, worker, params.operation, params.workflow)
      const result = await custodian.release(tenant, params, inTime(context.remainingMs()))
      operation.releases += 1
      return result
    },
    "ekey.releaseMany": async ({ deadlineMs: _, ...params }, context) => {
      const operation = operations.get(tenant, worker, params.operation, params.workflow)
      const result = await custodian.releaseMany(tenant, params, inTime(context.remainingMs()))
      operation.releases += params.users.length
      return result
    },
    "job.finished": async ({ run, outcome }) => {
      await scheduler.finished(tenant, worker, run, outcome)
      return {}
    },
  }
}

function inTime(remainingMs: number): number {
  if (remainingMs < MIN_REMAINING_MS) throw new EkeyError("ERR_DEADLINE", "too little time is left to answer")
  return remainingMs
}
