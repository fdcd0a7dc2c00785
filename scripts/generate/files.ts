import { mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { configSchema, CONFIGS } from "./config-schema.ts"
import { errorTable } from "./error-table.ts"
import { replaceSection } from "./markdown.ts"
import { closeCodeTable, limitTable } from "./protocol-limits.ts"
import { methodReference, typeReference } from "./protocol-reference.ts"
import { base64urlVectors, fieldVectors, spiffeVectors } from "./vectors/encodings.ts"
import { certificateRequestVectors, revocationVectors } from "./vectors/identity.ts"
import { sealedRecordVectors } from "./vectors/sealed-record.ts"
import { sessionVectors } from "./vectors/session.ts"

/** A file that the code decides, wholly or between markers. */
export interface GeneratedFile {
  /** Relative to the project's folder, with slashes. */
  readonly path: string
  /** What the file should hold. `current` is what it holds now, or `null` if it is not there. */
  readonly make: (current: string | null) => string
}

/** Every generated file. The same code gives the same files, byte for byte. */
export async function generatedFiles(): Promise<readonly GeneratedFile[]> {
  const { session, releases } = await sessionVectors()
  return [
    sections("docs/protocol.md", { limits: limitTable(), "close codes": closeCodeTable(), types: typeReference(), methods: methodReference() }),
    sections("docs/errors.md", { "error codes": errorTable() }),
    ...Object.entries(CONFIGS).map(([name, schema]) => whole(`config/${name}.schema.json`, configSchema(name, schema))),
    whole("test/vectors/fields.json", fieldVectors()),
    whole("test/vectors/base64url.json", base64urlVectors()),
    whole("test/vectors/spiffe-ids.json", spiffeVectors()),
    whole("test/vectors/certificate-requests.json", certificateRequestVectors()),
    whole("test/vectors/revocation-lists.json", revocationVectors()),
    whole("test/vectors/session.json", session),
    whole("test/vectors/releases.json", releases),
    whole("test/vectors/sealed-record.json", sealedRecordVectors()),
  ]
}

/** @returns the paths of those that differ from what the code says. */
export async function findOutdated(root: string): Promise<string[]> {
  const outdated: string[] = []
  for (const { path, make } of await generatedFiles()) {
    const current = await readCurrent(join(root, path))
    if (make(current) !== current) outdated.push(path)
  }
  return outdated
}

/** Writes those that differ. @returns their paths. */
export async function writeOutdated(root: string): Promise<string[]> {
  const written: string[] = []
  for (const { path, make } of await generatedFiles()) {
    const current = await readCurrent(join(root, path))
    const wanted = make(current)
    if (wanted === current) continue
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), wanted)
    written.push(path)
  }
  return written
}

function whole(path: string, content: string): GeneratedFile {
  return { path, make: () => content }
}

/** The rest of such a page is written by hand, so the page must be there. */
function sections(path: string, contents: Readonly<Record<string, string>>): GeneratedFile {
  return {
    path,
    make: (current) => {
      if (current === null) throw new Error(`${path} is missing: only parts of it are generated`)
      return Object.entries(contents).reduce((page, [name, content]) => replaceSection(page, name, content), current)
    },
  }
}

async function readCurrent(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null
    throw error
  }
}
