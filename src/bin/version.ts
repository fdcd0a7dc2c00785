import { readFileSync } from "node:fs"
import { z } from "zod"

const Package = z.looseObject({ version: z.string() })

/** This product's version, from its package.json. */
export const VERSION = Package.parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))).version
