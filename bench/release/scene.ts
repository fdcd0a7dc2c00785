import type { Workflow } from "../../src/wire/messages/workflows.ts"

/** What is measured: one tenant with so many users, asked for in turn. */
export const TENANT = "acme"
export const USERS = 10_000
export const WORKFLOW: Workflow = "backup.scheduled"
export const REASON = ""

/** Users of one `ekey.releaseMany`, the protocol's limit. */
export const BULK_USERS = 256
/** Bulk requests in flight. */
export const BULK_IN_FLIGHT = 4

export function userName(index: number): string {
  return `user-${String(index % USERS).padStart(5, "0")}@acme.example`
}
