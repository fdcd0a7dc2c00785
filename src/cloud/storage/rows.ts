import { z } from "zod"
import { EkeyError } from "../../base/errors.ts"
import type { Tables } from "./schema.ts"

/** The form of an error code: a newer worker may report one that this version does not list. */
export const ReasonCode = z.string().regex(/^ERR_[A-Z_]{1,40}$/)

/** A text column that holds JSON of the given schema. */
export function json<T>(schema: z.ZodType<T>): z.ZodType<T, string> {
  return z.string().transform((text, context): unknown => {
    try {
      return JSON.parse(text)
    } catch {
      // The parser's message quotes the text, which stays in the database.
      context.addIssue("is not JSON")
      return z.NEVER
    }
  }).pipe(schema)
}

/**
 * A row as the repositories hand it out: the database is a boundary like any other.
 * @throws EkeyError ERR_STORE naming the table; the cause names the columns, never their values.
 */
export function parseRow<T>(table: keyof Tables, schema: z.ZodType<T>, row: unknown): T {
  const parsed = schema.safeParse(row)
  if (parsed.success) return parsed.data
  const columns = new Set(parsed.error.issues.map((issue) => String(issue.path[0])))
  throw new EkeyError("ERR_STORE", `table ${table} holds a row that can't be understood`, { cause: new Error(`columns: ${[...columns].join(", ")}`) })
}

const MAX_TEXT_LENGTH = 1_000

/** Free text as both databases keep it: at most 1,000 UTF-16 units, no NUL (PostgreSQL has none), no half characters. */
export function boundText(text: string): string {
  const whole = text.replaceAll("\0", "").slice(0, MAX_TEXT_LENGTH)
  const endsInHalf = /[\uD800-\uDBFF]$/.test(whole)
  return (endsInHalf ? whole.slice(0, -1) : whole).toWellFormed()
}
