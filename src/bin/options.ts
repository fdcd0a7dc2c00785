import { InvalidArgumentError } from "commander"
import type { z } from "zod"

/** Makes a commander argument parser of a schema: a wrong value is a usage error that names the rule. */
export function parseAs<S extends z.ZodType>(schema: S): (value: string) => z.infer<S> {
  return (value) => {
    const parsed = schema.safeParse(value)
    if (!parsed.success) throw new InvalidArgumentError(`It ${parsed.error.issues[0]?.message.replace(/^Invalid/, "is invalid:") ?? "is wrong"}.`)
    return parsed.data
  }
}

/** For paths: an empty one, as an unset variable gives, would mean the current folder. */
export function notEmpty(value: string): string {
  if (value === "") throw new InvalidArgumentError("It must not be empty.")
  return value
}

/** `name=value`, repeatable, into a record. */
export function collectPairs(value: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = value.indexOf("=")
  if (at < 1) throw new InvalidArgumentError("It must be name=value.")
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) }
}
