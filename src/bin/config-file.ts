import { readFile } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { isMap, isScalar, LineCounter, parseDocument } from "yaml"
import type { Document } from "yaml"
import { z } from "zod"
import { EkeyError } from "../base/errors.ts"

export interface LoadedConfig<T> {
  readonly config: T
  /** Makes a path of the config absolute: relative ones are relative to the config file. */
  readonly path: (configured: string) => string
}

const MAX_CONFIG_BYTES = 1024 * 1024

/**
 * Reads a YAML config file against its schema.
 * @throws EkeyError ERR_CONFIG that lists every problem with line and setting, and repeats no value.
 */
export async function loadConfig<S extends z.ZodType>(file: string, schema: S): Promise<LoadedConfig<z.infer<S>>> {
  const text = await readConfig(file)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const broken = document.errors.map((error) => `line ${String(lines.linePos(error.pos[0]).line)}: not valid YAML (${error.code})`)
  if (broken.length > 0) throw wrong(file, broken)
  const parsed = schema.safeParse(toValue(document, file) ?? {})
  if (!parsed.success) throw wrong(file, parsed.error.issues.flatMap((issue) => describe(issue, schema, document, lines)))
  return { config: parsed.data, path: (configured) => resolve(dirname(file), configured) }
}

/** Aliases are followed only now: to no anchor, or to more than a config file can mean. */
function toValue(document: Document, file: string): unknown {
  try {
    return document.toJS()
  } catch (cause) {
    throw new EkeyError("ERR_CONFIG", `${file}: 1 problem\n  not valid YAML (ALIAS): write the settings out`, { cause })
  }
}

async function readConfig(file: string): Promise<string> {
  try {
    const bytes = await readFile(file)
    if (bytes.length > MAX_CONFIG_BYTES) throw new EkeyError("ERR_CONFIG", `${file} is larger than a config file can be`)
    return bytes.toString("utf8")
  } catch (cause) {
    if (cause instanceof EkeyError) throw cause
    throw new EkeyError("ERR_CONFIG", `the config file ${file} can't be read: name another with --config`, { cause })
  }
}

function wrong(file: string, problems: readonly string[]): EkeyError {
  return new EkeyError("ERR_CONFIG", `${file}: ${String(problems.length)} ${problems.length === 1 ? "problem" : "problems"}\n${problems.map((problem) => `  ${problem}`).join("\n")}`)
}

type Path = readonly PropertyKey[]

/** One line for each problem; an issue about several unknown settings makes several. */
function describe(issue: z.core.$ZodIssue, schema: z.ZodType, document: Document, lines: LineCounter): string[] {
  if (issue.code === "unrecognized_keys") {
    const known = settingsAt(schema, issue.path)
    return issue.keys.map((key) => {
      const near = nearest(key, known)
      return `${where([...issue.path, key], document, lines)}: unknown setting${near === undefined ? "" : ` (did you mean "${near}"?)`}`
    })
  }
  const missing = issue.code === "invalid_type" && document.getIn(issue.path) === undefined
  return [`${where(issue.path, document, lines)}: ${missing ? "is required" : reason(issue)}`]
}

/** Zod's own messages for literals and enums list what is allowed, never what was given. */
function reason(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type": return `must be ${issue.expected}`
    case "invalid_value": return `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`
    default: return issue.message
  }
}

function where(path: Path, document: Document, lines: LineCounter): string {
  const name = path.map(String).join(".") || "the file"
  const offset = offsetOf(path, document)
  return offset === undefined ? name : `line ${String(lines.linePos(offset).line)}: ${name}`
}

/** Where the setting's key stands, or the nearest place above it. */
function offsetOf(path: Path, document: Document): number | undefined {
  const key = path.at(-1)
  if (key === undefined) return undefined
  const parentPath = path.slice(0, -1)
  const parent = parentPath.length === 0 ? document.contents : document.getIn(parentPath, true)
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === key)
    if (isScalar(pair?.key)) return pair.key.range?.[0]
  }
  return offsetOf(parentPath, document)
}

const Properties = z.looseObject({ properties: z.record(z.string(), z.unknown()).optional(), additionalProperties: z.unknown(), items: z.unknown() }).partial()

/** The settings that the schema knows at a place. */
function settingsAt(schema: z.ZodType, path: Path): string[] {
  let node: unknown = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" })
  for (const key of path) {
    const known = Properties.safeParse(node).data
    // Settings have names; the entries of `jobs` and of lists are all of one kind.
    node = known?.properties?.[String(key)] ?? known?.additionalProperties ?? known?.items
  }
  return Object.keys(Properties.safeParse(node).data?.properties ?? {})
}

function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known.map((candidate) => ({ candidate, distance: editDistance(key.toLowerCase(), candidate.toLowerCase()) })).sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best && best.distance <= Math.max(2, key.length / 3) ? best.candidate : undefined
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}
