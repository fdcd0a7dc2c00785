import { isBuiltin } from "node:module"
import { posix } from "node:path"
import type { SourceFile } from "./source-files.ts"

/** Which layers a layer may import besides itself. A folder of `src` that has no row is a violation. */
const LAYERS = new Map<string, readonly string[]>([
  ["base", []],
  ["crypto", ["base"]],
  ["wire", ["base", "crypto"]],
  ["kms", ["base", "crypto"]],
  ["authority", ["base", "crypto", "wire"]],
  ["connector", ["base", "crypto", "wire", "kms"]],
  ["cloud", ["base", "crypto", "wire", "kms"]],
  ["worker", ["base", "crypto", "wire"]],
  ["bin", ["base", "crypto", "wire", "kms", "authority", "connector", "cloud", "worker"]],
])

/** Packages that more than one file may know, and the folder that they are the vocabulary of. */
const VOCABULARIES = new Map([
  ["zod", "src/"],
  ["commander", "src/bin/"],
  ["yaml", "src/bin/"],
  ["kysely", "src/cloud/storage/"],
])

const MAX_LINES = 400

/** Each rule returns one sentence for each violation: none if the files keep it. */
export type Rule = (files: readonly SourceFile[]) => string[]

/** Imports go down only; siblings, and everything else that has no arrow, never import each other. */
export const arrowsPointDown: Rule = (files) => files.flatMap(({ file, imports }) => {
  const from = layerOf(file)
  const allowed = LAYERS.get(from)
  if (!allowed) return [`${file}: ${from} is no layer`]
  return targets(file, imports).flatMap((target) => {
    const to = layerOf(target)
    return to === from || allowed.includes(to) ? [] : [`${file}: ${from} must not import ${target}`]
  })
})

/** Type imports count: files that need each other's types are one idea. */
export const noCycles: Rule = (files) => {
  const edges = new Map(files.map(({ file, imports }) => [file, targets(file, imports)]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file)
    if (start >= 0) {
      found.push(`cycle: ${[...path.slice(start), file].join(" -> ")}`)
      return
    }
    if (done.has(file)) return
    for (const target of edges.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
  return found
}

/** One adapter knows a vendor's package; a vocabulary is known in its own folder. */
export const oneFilePerVendor: Rule = (files) => {
  const knownBy = new Map<string, string>()
  return files.flatMap(({ file, imports }) => [...new Set(imports.flatMap(packageOf))].flatMap((name) => {
    const home = VOCABULARIES.get(name)
    if (home !== undefined) return file.startsWith(home) ? [] : [`${file}: ${name} belongs to ${home}`]
    const other = knownBy.get(name)
    knownBy.set(name, other ?? file)
    return other === undefined ? [] : [`${file}: ${name} is known to ${other} already`]
  }))
}

/** Node runs the sources as they are: a path names its file, a built-in its scheme, and no import hides its target. */
export const importsNameTheirFile: Rule = (files) => files.flatMap(({ file, imports }) => imports.flatMap((specifier) => {
  if (specifier === null) return [`${file}: an import whose target is not written out`]
  if (isRelative(specifier)) return specifier.endsWith(".ts") ? [] : [`${file}: ${specifier} has no .ts suffix`]
  return isBuiltin(specifier) && !specifier.startsWith("node:") ? [`${file}: ${specifier} lacks its node: prefix`] : []
}))

export const noBarrels: Rule = (files) => files
  .filter(({ file }) => posix.basename(file) === "index.ts")
  .map(({ file }) => `${file}: name the file for its idea`)

export const oneIdeaPerFile: Rule = (files) => files
  .filter(({ lines }) => lines > MAX_LINES)
  .map(({ file, lines }) => `${file}: ${lines} lines, split it`)

export const onlyBinReadsTheEnvironment: Rule = (files) => files
  .filter(({ file, readsEnvironment }) => readsEnvironment && layerOf(file) !== "bin")
  .map(({ file }) => `${file}: only bin reads process.env and process.argv`)

/** The folder under `src`, or the path itself for what lies outside of any. */
function layerOf(file: string): string {
  const [top, layer, ...rest] = file.split("/")
  return top === "src" && layer !== undefined && rest.length > 0 ? layer : file
}

/** The files that relative imports lead to. */
function targets(file: string, imports: SourceFile["imports"]): string[] {
  return imports.flatMap((specifier) => (
    specifier !== null && isRelative(specifier) ? [posix.join(posix.dirname(file), specifier)] : []
  ))
}

function packageOf(specifier: string | null): string[] {
  if (specifier === null || isRelative(specifier) || isBuiltin(specifier)) return []
  return [specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")]
}

function isRelative(specifier: string): boolean {
  return /^(\.{1,2}\/|\/|file:)/.test(specifier)
}
