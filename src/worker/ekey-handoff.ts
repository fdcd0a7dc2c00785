import { z } from "zod"
import { EkeyMask } from "./ekey-mask.ts"
import { encodeEkeyText } from "./ekey-text.ts"
import { MemoryFile } from "./memory-file.ts"

/** The name of an environment variable that a config may set. */
export const EnvironmentName = z.string().max(128).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a name of letters, digits and _, not beginning with a digit")

/**
 * How a child program gets its ekey, which is always base64url text without padding and without a
 * line end (restic takes a line end off, so both spellings are one password). Never on its command line.
 *
 * - `fd`: the child reads it from /dev/fd/3, as often as it wants; `EKEY_FD` is `3`.
 * - `environment`: the named variable holds it. Anybody with the same OS user can read it there.
 * - `password-command`: the named variable holds a command that prints it. For programs that start
 *   others which don't inherit the descriptor; works while the child runs.
 */
export const EkeyHandoff = z.discriminatedUnion("via", [
  z.strictObject({ via: z.literal("fd").describe("the program reads it from /dev/fd/3") }),
  z.strictObject({ via: z.literal("environment").describe("a variable holds it"), name: EnvironmentName.describe("the variable") }),
  z.strictObject({ via: z.literal("password-command").describe("a variable holds a command that prints it"), name: EnvironmentName.describe("the variable") }),
])
export type EkeyHandoff = z.infer<typeof EkeyHandoff>

/** The descriptor at which a child finds the ekey, and the variable that says so. */
export const EKEY_FD = 3
export const EKEY_FD_VARIABLE = "EKEY_FD"

/** What a child's start needs for its ekey; good until `run` of `withEkeyHandoff` settles. */
export interface HandedEkey {
  /** Added to the child's environment. */
  readonly env: Readonly<Record<string, string>>
  /** Descriptors of this process that become the child's 3, 4, … */
  readonly extraStdio: readonly number[]
  /** Takes the ekey out of what the child prints. */
  readonly mask: (text: string) => string
}

/** The way that is used unless another is asked for. */
export const DEFAULT_HANDOFF: EkeyHandoff = { via: "fd" }

/**
 * Lends one ekey to one child, which `run` starts and waits for. Afterwards what was made for it is
 * overwritten and closed, whatever happened. `ekey` stays the caller's, who wipes it.
 * `memoryFolder`: default /dev/shm.
 * @throws EkeyError ERR_CONFIG where `fd` and `password-command` don't work; ERR_FILE on I/O faults.
 */
export async function withEkeyHandoff<T>(
  handoff: EkeyHandoff, ekey: Uint8Array, run: (handed: HandedEkey) => Promise<T>, options: { memoryFolder?: string } = {},
): Promise<T> {
  const mask = new EkeyMask(ekey)
  try {
    const text = encodeEkeyText(ekey)
    try {
      return await lend(handoff, text, (env, extraStdio) => run({ env, extraStdio, mask: (line) => mask.mask(line) }), options.memoryFolder)
    } finally {
      text.fill(0)
    }
  } finally {
    mask.wipe()
  }
}

type Use<T> = (env: Record<string, string>, extraStdio: readonly number[]) => Promise<T>

async function lend<T>(handoff: EkeyHandoff, text: Buffer, use: Use<T>, memoryFolder?: string): Promise<T> {
  switch (handoff.via) {
    case "fd":
      return lendFile(text, memoryFolder, (readFd) => use({ [EKEY_FD_VARIABLE]: String(EKEY_FD) }, [readFd]))
    case "environment":
      // A variable is a string, here and in the child: neither can be wiped.
      return use({ [handoff.name]: text.toString("latin1") }, [])
    case "password-command":
      // By way of this process, not of the child's descriptors: programs close those for their own children.
      return lendFile(text, memoryFolder, (readFd) => use({ [handoff.name]: `cat /proc/${String(process.pid)}/fd/${String(readFd)}` }, []))
    default:
      return handoff satisfies never
  }
}

async function lendFile<T>(text: Buffer, memoryFolder: string | undefined, use: (readFd: number) => Promise<T>): Promise<T> {
  const file = await MemoryFile.create(text, memoryFolder)
  try {
    return await use(file.readFd)
  } finally {
    await file.destroy()
  }
}
