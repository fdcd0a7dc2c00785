import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { createWriteStream } from "node:fs"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { z } from "zod"
import { systemClock } from "../../base/clock.ts"
import { isErrorCode } from "../../base/error-codes.ts"
import { EkeyError } from "../../base/errors.ts"
import { STOP_WITH_PARENT } from "../daemon.ts"

const BIN = dirname(dirname(fileURLToPath(import.meta.url)))
/** Node strips the types at each start; with a cache it does so once. */
const ENVIRONMENT = { NODE_COMPILE_CACHE: join(BIN, "..", "..", "node_modules", ".cache", "compile"), ...process.env }
const READY_WITHIN_MS = 60_000
const MAX_TAIL = 8

/** Which of the product's programs. */
export type Program = "ekey-cloud" | "ekey-connector" | "ekey-worker" | "ekey-archive"

/** How a program of this product is started: by this very Node, from this very folder. */
export function commandOf(program: Program): { program: string; args: string[] } {
  return { program: process.execPath, args: [...process.execArgv, join(BIN, `${program}.ts`)] }
}

const Event = z.looseObject({ event: z.string() })
export type LogEvent = z.infer<typeof Event>

/** A daemon of the quickstart: a process of its own, its log in a file and its events watched. */
export class Daemon {
  readonly name: string
  readonly pid: number
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  readonly #seen: LogEvent[] = []
  readonly #tail: string[] = []
  readonly #watchers = new Set<() => void>()
  #running = true

  constructor(name: string, program: Program, args: readonly string[], logFile: string) {
    const command = commandOf(program)
    // A pipe on stdin: should this process be killed, its end tells the daemon to stop.
    const child = spawn(command.program, [...command.args, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      // Out of the terminal's reach: Ctrl-C is for this process, which stops the daemons in order.
      detached: true,
      env: { ...ENVIRONMENT, [STOP_WITH_PARENT]: "1" },
    })
    this.name = name
    this.pid = child.pid ?? 0
    this.#child = child
    const log = createWriteStream(logFile, { flags: "a", mode: 0o600 })
    child.stderr.pipe(log, { end: false })
    child.stdin.on("error", () => undefined) // The daemon has gone; its exit says so.
    createInterface(child.stdout).on("line", (line) => {
      log.write(`${line}\n`)
      this.#note(line)
    })
    createInterface(child.stderr).on("line", (line) => { this.#keep(line) })
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.#ended = promise
    child.once("error", (error) => { this.#keep(error.message) })
    child.once("close", () => {
      this.#running = false
      log.end()
      this.#wake()
      resolve(undefined)
    })
  }

  /**
   * The first event that `matches`, earlier ones included.
   * @throws EkeyError ERR_INTERNAL with the log's last lines when the daemon ends, or takes too long.
   */
  async event(matches: (event: LogEvent) => boolean): Promise<LogEvent> {
    const untilMs = systemClock.monotonicMs() + READY_WITHIN_MS
    for (;;) {
      const found = this.#seen.find(matches)
      if (found) return found
      if (!this.#running) throw failureOf(`the ${this.name}`, this.#tail) ?? new EkeyError("ERR_INTERNAL", `the ${this.name} ended unexpectedly:\n${this.#tail.join("\n")}`)
      if (systemClock.monotonicMs() > untilMs) throw new EkeyError("ERR_INTERNAL", `${this.name} did not get ready:\n${this.#tail.join("\n")}`)
      await this.#change()
    }
  }

  /** Asks the daemon to stop, and waits for it. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM")
    await this.#ended
  }

  /** Resolves when the daemon has ended, wanted or not. */
  get ended(): Promise<void> {
    return this.#ended
  }

  #note(line: string): void {
    this.#keep(line)
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      return // Not an event: a crash's text, which the tail keeps.
    }
    const event = Event.safeParse(value)
    if (!event.success) return
    this.#seen.push(event.data)
    if (this.#seen.length > 1000) this.#seen.shift()
    this.#wake()
  }

  #keep(line: string): void {
    this.#tail.push(line)
    if (this.#tail.length > MAX_TAIL) this.#tail.shift()
  }

  #wake(): void {
    for (const wake of this.#watchers) wake()
  }

  /** Something happened, or a second has passed. */
  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>()
    const wake = (): void => { resolve(undefined) }
    this.#watchers.add(wake)
    const giveUp = new AbortController()
    await Promise.race([promise, systemClock.sleep(1000, giveUp.signal).catch(() => undefined)]) // Aborted: woken earlier.
    giveUp.abort()
    this.#watchers.delete(wake)
  }
}

/** What a program of the product said of its own failure: `program: message (CODE)`. */
function failureOf(who: string, tail: readonly string[]): EkeyError | undefined {
  for (const line of tail) {
    const [, message, code] = /^ekey-[a-z]+: (.*) \((ERR_[A-Z_]+)\)$/.exec(line) ?? []
    if (message !== undefined && code !== undefined && isErrorCode(code)) return new EkeyError(code, `${who}: ${message}`)
  }
  return undefined
}

/** Runs a command of the product to its end. @throws EkeyError ERR_JOB_FAILED with what it printed. */
export async function runCommand(program: Program, args: readonly string[], logFile: string): Promise<void> {
  const command = commandOf(program)
  const child = spawn(command.program, [...command.args, ...args], { stdio: ["ignore", "pipe", "pipe"], detached: true, env: ENVIRONMENT })
  const log = createWriteStream(logFile, { flags: "a", mode: 0o600 })
  const tail: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on("line", (line) => {
      log.write(`${line}\n`)
      tail.push(line)
      if (tail.length > MAX_TAIL) tail.shift()
    })
  }
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once("error", reject)
  child.once("close", resolve)
  const exitCode = await promise
  log.end()
  if (exitCode !== 0) throw failureOf(`${program} ${args[0] ?? ""}`, tail) ?? new EkeyError("ERR_JOB_FAILED", `${program} ${args[0] ?? ""} ended with ${String(exitCode)}:\n${tail.join("\n")}`)
}
