import { fileURLToPath } from "node:url"
import { findOutdated, writeOutdated } from "./generate/files.ts"

const USAGE = `Usage: npm run generate [-- --check]
Writes what the code decides: parts of docs/protocol.md and docs/errors.md, config/*.schema.json, test/vectors/*.json.
With --check it writes nothing, names the files that differ, and exits 1 if there are any.`

const ROOT = fileURLToPath(new URL("..", import.meta.url))

async function main(flags: readonly string[]): Promise<number> {
  if (flags.some((flag) => flag !== "--check")) {
    console.error(USAGE)
    return flags.includes("--help") ? 0 : 2
  }
  const isCheck = flags.includes("--check")
  const paths = isCheck ? await findOutdated(ROOT) : await writeOutdated(ROOT)
  for (const path of paths) console.log(`${isCheck ? "differs" : "written"}: ${path}`)
  if (isCheck && paths.length > 0) console.error("generated files are out of date: npm run generate")
  return isCheck && paths.length > 0 ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
