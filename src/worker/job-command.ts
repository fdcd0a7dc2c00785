import { EkeyError } from "../base/errors.ts"
import { compilePattern } from "./job-definition.ts"
import type { JobDefinition, JobParameter } from "./job-definition.ts"
import { JobTemplate } from "./job-template.ts"

export interface JobCommand {
  readonly program: string
  readonly args: readonly string[]
  /** The job's fixed variables alone: add a clean environment and the ekey's. */
  readonly env: Readonly<Record<string, string>>
}

const CONTROL = /\p{Cc}/u
/** Characters of a user's id that are safe in a path segment; all others are written as %XX. */
const UNSAFE_IN_SEGMENT = /[^A-Za-z0-9@._+=~-]/gu

/**
 * What a job executes for one user. Each value goes into its argument as text: it is never split,
 * never expanded again and never seen by a shell. `{user}` is written as one path segment (anything
 * unusual as %XX), so that no user id reaches another user's folder.
 * @throws EkeyError ERR_JOB for a parameter that is unknown, missing or not allowed. The message
 *   names the parameter, never its value.
 */
export function buildCommand(job: JobDefinition, request: { user: string; parameters: Readonly<Record<string, string>> }): JobCommand {
  const user = new Map([["user", pathSegment(request.user)]])
  const values = new Map([...user, ["repository", fill(job.repository, user)]])
  if (job.destination !== undefined) values.set("destination", fill(job.destination, user))
  for (const [name, value] of checkedParameters(job, request.parameters)) values.set(name, value)
  return { program: job.program, args: job.args.map((argument) => fill(argument, values)), env: { ...job.environment } }
}

function* checkedParameters(job: JobDefinition, sent: Readonly<Record<string, string>>): Generator<[string, string]> {
  for (const name of Object.keys(sent)) {
    if (!Object.hasOwn(job.parameters, name)) throw new EkeyError("ERR_JOB", "a parameter was sent that the job does not declare")
  }
  for (const [name, allowed] of Object.entries(job.parameters)) {
    const value = Object.hasOwn(sent, name) ? sent[name] : undefined
    if (value === undefined) throw new EkeyError("ERR_JOB", `parameter ${name} is missing`)
    const wrong = wrongWith(value, allowed)
    if (wrong !== null) throw new EkeyError("ERR_JOB", `parameter ${name} ${wrong}`)
    yield [name, value]
  }
}

/** @returns why the value is refused, or `null`. Cheap checks come first: a pattern may be slow on long text. */
function wrongWith(value: string, allowed: JobParameter): string | null {
  if (value.length > allowed.maxLength) return "is too long"
  const unsafe = unsafeAnywhere(value)
  if (unsafe !== null) return unsafe
  if (!compilePattern(allowed.pattern)?.test(value)) return "does not match its pattern"
  return null
}

/** What no value may be, whatever its pattern allows. */
function unsafeAnywhere(value: string): string | null {
  if (value.startsWith("-")) return "begins with a hyphen, so a program could take it for an option"
  if (CONTROL.test(value) || !value.isWellFormed()) return "has control characters or broken Unicode"
  if (value.split(/[/\\]/).includes("..")) return "has a .. that could leave its folder"
  return null
}

function pathSegment(user: string): string {
  if (user === "" || user.startsWith("-") || CONTROL.test(user) || !user.isWellFormed()) throw new EkeyError("ERR_JOB", "the user's id can't be used in a job")
  const segment = user.replace(UNSAFE_IN_SEGMENT, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""))
  // A leading dot would make "." and "..", and hidden folders.
  return segment.startsWith(".") ? `%2E${segment.slice(1)}` : segment
}

function fill(source: string, values: ReadonlyMap<string, string>): string {
  const text = JobTemplate.parse(source)?.fill(values)
  // The config's check at load rules this out.
  if (text === undefined || text === null) throw new EkeyError("ERR_JOB", "the job's definition is not usable")
  return text
}
