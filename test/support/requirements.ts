import { accessSync, constants, statSync } from "node:fs"
import { delimiter, join } from "node:path"

/** Why a test was skipped, for the reporter. */
const reasons = new WeakMap<object, string>()

/** What the reporter needs to know of a test, hook or suite. */
export interface Skippable {
  readonly parent?: Skippable | undefined
}

/**
 * Skips the running test (in a `before` hook: the whole suite) when `program` is not on the path.
 * CI installs every program that a test names, so there its absence is a failure.
 */
export function requireProgram(context: Mocha.Context, program: string, why: string): void {
  requireThat(context, findProgram(program) !== null, `${program} is not installed: ${why}`)
}

/** Like `requireProgram`, for anything else that CI provides: `reason` says what is missing and for what. */
export function requireThat(context: Mocha.Context, met: boolean, reason: string): void {
  if (met) return
  if (isCi()) throw new Error(`CI must not skip this: ${reason}`)
  skip(context, reason)
}

/** Skips on other platforms than those named, in CI too: no machine is all of them. */
export function requirePlatform(context: Mocha.Context, platforms: readonly NodeJS.Platform[], why: string): void {
  if (platforms.includes(process.platform)) return
  skip(context, `needs ${platforms.join(" or ")}, this is ${process.platform}: ${why}`)
}

/** Whether skipping what could have run is a failure here. */
export function isCi(): boolean {
  return !["", "0", "false"].includes(process.env["CI"] ?? "")
}

/** The reason recorded for a test or for a suite around it, or `null` if it was skipped without one. */
export function skipReason(test: Skippable): string | null {
  for (let node: Skippable | undefined = test; node; node = node.parent) {
    const reason = reasons.get(node)
    if (reason !== undefined) return reason
  }
  return null
}

/** The program's path, or `null` if no folder of `searchPath` (default: PATH) has an executable of that name. */
export function findProgram(program: string, searchPath = process.env["PATH"] ?? ""): string | null {
  const endings = process.platform === "win32" ? [".exe", ".cmd", ".bat"] : [""]
  for (const folder of searchPath.split(delimiter)) {
    if (folder === "") continue
    for (const ending of endings) {
      const path = join(folder, program + ending)
      if (isExecutable(path)) return path
    }
  }
  return null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false // Absent or unreadable: for a test that is the same.
  }
}

function skip(context: Mocha.Context, reason: string): never {
  const runnable = context.runnable()
  reasons.set(subject(runnable, context.currentTest), reason)
  context.skip()
}

/** A hook before all tests stands for its suite, one before each for the test it precedes. */
function subject(runnable: Mocha.Runnable, currentTest: Mocha.Test | undefined): object {
  if (runnable.title.startsWith('"before all"')) return runnable.parent ?? runnable
  if (runnable.title.startsWith('"before each"')) return currentTest ?? runnable
  return runnable
}
