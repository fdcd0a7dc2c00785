import { isAbsolute } from "node:path"
import { z } from "zod"
import { namedValues } from "../wire/messages/named-values.ts"
import { Name } from "../wire/messages/scalars.ts"
import { Workflow } from "../wire/messages/workflows.ts"
import { DEFAULT_HANDOFF, EKEY_FD_VARIABLE, EkeyHandoff, EnvironmentName } from "./ekey-handoff.ts"
import { StatisticsMap } from "./job-statistics.ts"
import { JobTemplate } from "./job-template.ts"

/** Values that every job has; parameters may not take their names. */
const OWN_NAMES = ["repository", "destination", "user"] as const

const Text = z.string().max(4096).refine((text) => !text.includes("\0"), "must not have a NUL character")

/** What the cloud's scheduler may send for one parameter. */
export const JobParameter = z.strictObject({
  pattern: z.string().max(1024)
    .refine((source) => compilePattern(source) !== null, "must be a JavaScript regular expression")
    .describe("a regular expression that the whole value must match"),
  maxLength: z.int().min(1).max(1024).default(256).describe("in characters"),
})
export type JobParameter = z.infer<typeof JobParameter>

/**
 * One entry of `jobs` in the worker's config: everything that the worker runs is written here. The
 * cloud names the job and the user, and fills the declared parameters; it can't add an argument or
 * change program, repository or destination.
 */
export const JobDefinition = z.strictObject({
  program: Text.refine((path) => isAbsolute(path), "must be an absolute path").describe("absolute path of the program; it is run without a shell"),
  args: z.array(Text).max(256).default([]).describe("may hold {repository}, {destination}, {user} and {parameters}, each filled in as text inside its argument; {{ and }} stand for braces"),
  repository: Text.min(1).describe("where backups go; may hold {user}"),
  destination: Text.min(1).optional().describe("where restores go; may hold {user}"),
  handoff: EkeyHandoff.default(DEFAULT_HANDOFF).describe("how the program gets its ekey"),
  environment: namedValues(EnvironmentName, Text).default({}).describe("fixed variables for the program"),
  parameters: namedValues(Name, JobParameter).default({}).describe("what the cloud's scheduler may send, by name"),
  workflows: z.array(Workflow).min(1).optional().describe("workflows for which the job may run; default: all"),
  statistics: StatisticsMap.optional().describe("counters to report, each by its name in the JSON summary that the program prints as a line"),
  timeoutSeconds: z.int().min(1).max(2_000_000).default(86_400).describe("the program is ended after this many seconds"),
}).superRefine((job, context) => {
  for (const { path, message } of problemsOf(job)) context.addIssue({ code: "custom", path, message })
})
export type JobDefinition = z.infer<typeof JobDefinition>

/** Whether the job may run for a workflow. */
export function allowsWorkflow(job: JobDefinition, workflow: Workflow): boolean {
  return job.workflows?.includes(workflow) ?? true
}

/**
 * Compiles a parameter's pattern so that it must match the whole value.
 * @returns `null` when it is no regular expression.
 */
export function compilePattern(source: string): RegExp | null {
  try {
    // Alone first: "a)|(?:b" is none, but would become one inside the anchors, which it then escapes.
    RegExp(source, "u")
    return RegExp(`^(?:${source})$`, "u")
  } catch {
    return null // The engine's message would repeat the pattern.
  }
}

interface Problem {
  readonly path: (string | number)[]
  readonly message: string
}

type Templates = Pick<JobDefinition, "args" | "repository" | "destination" | "environment" | "handoff" | "parameters">

function* problemsOf(job: Templates): Generator<Problem> {
  for (const name of OWN_NAMES) {
    if (Object.hasOwn(job.parameters, name)) yield { path: ["parameters", name], message: "is a name that every job has already: choose another" }
  }
  const place = new Set(["user"])
  yield* templateProblems(["repository"], job.repository, place)
  if (job.destination !== undefined) yield* templateProblems(["destination"], job.destination, place)
  const known = new Set(["repository", "user", ...(job.destination === undefined ? [] : ["destination"]), ...Object.keys(job.parameters)])
  for (const [index, argument] of job.args.entries()) yield* templateProblems(["args", index], argument, known)
  const reserved = job.handoff.via === "fd" ? EKEY_FD_VARIABLE : job.handoff.name
  if (Object.hasOwn(job.environment, reserved)) yield { path: ["environment", reserved], message: "is the variable in which the program gets its ekey: remove it" }
}

function* templateProblems(path: (string | number)[], source: string, known: ReadonlySet<string>): Generator<Problem> {
  const template = JobTemplate.parse(source)
  if (!template) {
    yield { path, message: "has a brace that belongs to no {name}: write {{ or }} for a brace" }
    return
  }
  for (const name of new Set(template.names)) {
    if (!known.has(name)) yield { path, message: `has {${name}}, which is not known here (known: ${[...known].map((k) => `{${k}}`).join(", ")})` }
  }
}
