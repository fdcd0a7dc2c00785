import { z } from "zod"
import { namedValues } from "../wire/messages/named-values.ts"
import { Statistics } from "../wire/messages/operation.ts"

/** Our counters by the names that the program's own summary has for them. */
export const StatisticsMap = namedValues(z.string().regex(/^[a-z][A-Za-z]{0,31}$/), z.string().min(1).max(64))
  // A run's report has 16, and the job runner adds two of its own.
  .refine((map) => Object.keys(map).length <= 14, "at most 14 counters")
export type StatisticsMap = z.infer<typeof StatisticsMap>

/**
 * Reads counters from a line of a program's output, if the line is a JSON object that has them all:
 * restic's and ekey-archive's last line with `--json` is one.
 * @returns null for every other line.
 */
export function readStatistics(line: string, map: StatisticsMap): Statistics | null {
  if (!line.startsWith("{")) return null
  let summary: unknown
  try {
    summary = JSON.parse(line)
  } catch {
    return null // Not a summary, then: programs print what they want.
  }
  const fields = z.record(z.string(), z.unknown()).safeParse(summary)
  if (!fields.success) return null
  const found = Object.entries(map).map(([name, key]) => [name, fields.data[key]] as const)
  return Statistics.safeParse(Object.fromEntries(found)).data ?? null
}
