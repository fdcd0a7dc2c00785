import { z } from "zod"
import { WORKFLOWS } from "../wire/messages/workflows.ts"

/** One workflow's exact name, or `prefix.*` for all below a prefix. `*` alone is none: what is allowed is named. */
const PATTERN = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\.\*)?$/

/** A pattern that matches nothing is a slip of the pen that would only show when a backup is refused. */
const WorkflowPattern = z.string().max(64)
  .regex(PATTERN, "must be a workflow's name or prefix.*")
  .refine((pattern) => WORKFLOWS.some((workflow) => matches(pattern, workflow)), "matches no workflow that is known")

/** The `policy` section of the connector's config. */
export const PolicyConfig = z.strictObject({
  workflows: z.array(WorkflowPattern).describe("workflows that may have ekeys, by name or prefix.*; an empty list allows none"),
}).describe("what this connector releases, whatever the cloud asks for")
export type PolicyConfig = z.infer<typeof PolicyConfig>

/** Who asks for which user's ekey, and what for. */
export interface PolicyRequest {
  /** The worker's name, from its certificate. */
  readonly worker: string
  readonly user: string
  /** The worker's claim. */
  readonly workflow: string
}

export interface PolicyDecision {
  readonly decision: "allow" | "deny"
  /** The rule that decided, for logs and for whoever asks why: never sent to the worker. */
  readonly rule: string
}

/** The customer's own rules, which outrank whatever the cloud asks for. */
export interface Policy {
  evaluate(request: PolicyRequest): PolicyDecision
}

const DENY_BY_DEFAULT: PolicyDecision = { decision: "deny", rule: "policy.workflows: no entry matches" }

/** What no rule allows is denied. The first pattern that matches is the rule that is named. */
export function createPolicy(config: PolicyConfig): Policy {
  const rules = config.workflows.map((pattern) => ({
    pattern,
    allow: { decision: "allow", rule: `policy.workflows: ${pattern}` } satisfies PolicyDecision,
  }))
  return {
    evaluate: (request) => rules.find((rule) => matches(rule.pattern, request.workflow))?.allow ?? DENY_BY_DEFAULT,
  }
}

/** `backup.*` matches `backup.manual`, neither `backup` nor `backups.manual`. */
function matches(pattern: string, workflow: string): boolean {
  if (!pattern.endsWith(".*")) return pattern === workflow
  const prefix = pattern.slice(0, -1)
  return workflow.length > prefix.length && workflow.startsWith(prefix)
}
