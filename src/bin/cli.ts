import { CommanderError } from "commander"
import type { Command } from "commander"
import { ERROR_CODES } from "../base/error-codes.ts"
import type { ErrorCode } from "../base/error-codes.ts"
import { codeOf, describeError } from "../base/errors.ts"

/** The exit codes that all programs share; a program adds its own above 2. */
export const EXIT_OK = 0
export const EXIT_FAILED = 1
export const EXIT_USAGE = 2
/** EX_CONFIG of sysexits.h: a restart does not help, so services are told not to try. */
export const EXIT_CONFIG = 78

/**
 * Parses the command line, runs what it asks for, and says on stderr what went wrong and how to mend
 * it. Sets the process's exit code and lets it end by itself, so that no output is cut; an action
 * that has an exit code of its own sets `process.exitCode`.
 */
export async function runCli(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  throwInsteadOfExit(program)
  // Whoever read our output has gone, as `head` does: no reason to fail loudly.
  process.stdout.on("error", (error: Error & { code?: string }) => {
    if (error.code !== "EPIPE") throw error
  })
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    process.exitCode = report(program.name(), error)
  }
}

let failureExitCode = EXIT_FAILED

/** For commands that run another program, whose exit codes theirs must not be taken for. */
export function setFailureExitCode(exitCode: number): void {
  failureExitCode = exitCode
}

/** Prints one line of results. */
export function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Says something to the person at the terminal, beside the results. */
export function printNotice(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Commander exits by itself, with 1 for a wrong command line, unless every command is told not to. */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride()
  for (const child of command.commands) throwInsteadOfExit(child)
}

/** Codes whose messages name what is wrong and what to do themselves. */
const SAYS_ITS_MEND: ReadonlySet<ErrorCode> = new Set(["ERR_CONFIG", "ERR_USAGE", "ERR_FILE"])

/** A fault of the file system or the network, as Node reports it. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && "errno" in error
}

/** @returns the exit code. */
function report(name: string, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
  const code = codeOf(error) ?? (isSystemError(error) ? "ERR_FILE" : "ERR_INTERNAL")
  const { error: message, cause } = describeError(error)
  const [first = "", ...rest] = message.split("\n")
  printNotice([`${name}: ${first} (${code})`, ...rest].join("\n"))
  if (cause !== undefined) printNotice(`  cause: ${cause}`)
  if (!SAYS_ITS_MEND.has(code)) printNotice(`  mend: ${ERROR_CODES[code].mend}`)
  if (code === "ERR_USAGE") return EXIT_USAGE
  return code === "ERR_CONFIG" || code === "ERR_ROOT_KEY" ? EXIT_CONFIG : failureExitCode
}
