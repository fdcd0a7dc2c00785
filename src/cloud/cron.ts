import { createTask, validateDetailed } from "node-cron"
import { EkeyError } from "../base/errors.ts"

/** Wakes somebody at the times of a cron expression (UTC; five fields, or six with seconds first). */
export interface Cron {
  /** @throws EkeyError ERR_SCHEDULE naming the field that is wrong. */
  check(expression: string): void
  /** Calls `tick` at each time; returns what ends it. */
  start(expression: string, tick: () => void): () => void
}

/** The cron over node-cron. It only wakes: what is due is the caller's to decide. */
export const nodeCron: Cron = {
  check: (expression) => {
    const { valid, errors } = validateDetailed(expression)
    if (valid) return
    const error = errors[0]
    throw new EkeyError("ERR_SCHEDULE", `the cron expression is wrong: ${error ? `${error.field}: ${error.message}` : "unreadable"}`)
  },
  start: (expression, tick) => {
    const task = createTask(expression, tick, { timezone: "UTC", suppressMissedWarning: true })
    void task.start()
    return () => { void task.destroy() }
  },
}
