import { spawn } from "node:child_process"
import type { ChildProcess, StdioOptions } from "node:child_process"
import { constants } from "node:os"
import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { LineSplitter, Tail } from "./child-output.ts"

export interface ChildRequest {
  /** A path, or a name that is looked up in the PATH of `env`. */
  readonly program: string
  /** Passed as they are: there is no shell. Never key material: anybody can read a command line. */
  readonly args: readonly string[]
  /** The child's whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
  /** `inherit`: the caller's own stdin, stdout and stderr. `log`: no stdin, and output line by line. */
  readonly stdio: "inherit" | "log"
  /** Descriptors that become the child's 3, 4, … */
  readonly extraStdio?: readonly number[]
  /** Aborting ends the child, and in `log` mode what it started: SIGTERM, and SIGKILL after the grace. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** Default: 10,000. */
  readonly graceMs?: number
  /** Takes secrets out of a line before it goes anywhere. Default: lines stay as they are. */
  readonly mask?: (line: string) => string
  /** Lines longer than this many characters are cut. Default: 4,096. */
  readonly maxLine?: number
  /** Each line of output in `log` mode; must not throw. */
  readonly onLine?: (line: string, stream: "stdout" | "stderr") => void
}

export interface ChildResult {
  /** The child's own; 128 plus the signal's number if a signal ended it, as shells have it. */
  readonly exitCode: number
  /** The signal that ended the child, or `null`. */
  readonly signal: NodeJS.Signals | null
  /** The last 2,000 characters of output in `log` mode; else empty. */
  readonly tail: string
}

const GRACE_MS = 10_000
const MAX_LINE = 4_096
const TAIL_LENGTH = 2_000
/** How long output is waited for when the child has ended but something it left behind holds the pipe. */
const DRAIN_MS = 2_000
/** How often a cancelled group is looked at for having ended. */
const POLL_MS = 50

/**
 * Runs a program to its end. An abort is not an error here: the result says how the child ended.
 * What a child leaves running goes on after a normal end, and is ended after an abort.
 * @throws the signal's reason when it was aborted before the start: nothing has run then.
 * @throws EkeyError ERR_JOB when the program can't be started; the system's reason is the cause.
 */
export async function runChild(request: ChildRequest): Promise<ChildResult> {
  request.signal.throwIfAborted()
  const child = start(request)
  const tail = readOutput(child, request)
  const closed = new Promise<void>((resolve) => child.once("close", () => { resolve() }))
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("exit", (code, signal) => { resolve({ code, signal }) })
    child.on("error", (cause) => { reject(couldNotStart(cause)) })
  })
  const killer = new GroupKiller({ child, clock: request.clock, graceMs: request.graceMs ?? GRACE_MS, wholeGroup: inOwnGroup(request) })
  const abort = (): void => { killer.begin() }
  request.signal.addEventListener("abort", abort, { once: true })
  try {
    const { code, signal } = await ended
    request.signal.removeEventListener("abort", abort)
    await killer.finish(request.signal.aborted)
    await drain(child, closed, request.clock)
    return { exitCode: code ?? 128 + (signal === null ? 0 : constants.signals[signal]), signal, tail: tail.text }
  } finally {
    request.signal.removeEventListener("abort", abort)
    killer.cancel()
  }
}

function start(request: ChildRequest): ChildProcess {
  const extra = request.extraStdio ?? []
  const stdio: StdioOptions = request.stdio === "inherit" ? ["inherit", "inherit", "inherit", ...extra] : ["ignore", "pipe", "pipe", ...extra]
  try {
    return spawn(request.program, [...request.args], {
      env: { ...request.env },
      ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
      stdio,
      detached: inOwnGroup(request),
      windowsHide: true,
    })
  } catch (cause) {
    throw couldNotStart(cause)
  }
}

function couldNotStart(cause: unknown): EkeyError {
  return new EkeyError("ERR_JOB", "the job's program could not be started", { cause })
}

function readOutput(child: ChildProcess, request: ChildRequest): Tail {
  const tail = new Tail(TAIL_LENGTH)
  const limits = { maxLine: request.maxLine ?? MAX_LINE }
  const mask = request.mask ?? ((line: string) => line)
  for (const stream of ["stdout", "stderr"] as const) {
    const lines = new LineSplitter(limits, mask, (line) => {
      tail.add(line)
      request.onLine?.(line, stream)
    })
    child[stream]?.on("data", (chunk: Buffer) => { lines.push(chunk) })
    child[stream]?.once("close", () => { lines.end() })
  }
  return tail
}

async function drain(child: ChildProcess, closed: Promise<void>, clock: Clock): Promise<void> {
  const { promise: expired, resolve } = Promise.withResolvers<undefined>()
  const cancel = clock.after(DRAIN_MS, () => { resolve(undefined) })
  await Promise.race([closed, expired])
  cancel()
  child.stdout?.destroy()
  child.stderr?.destroy()
  await closed
}

/** Windows has no process groups: there only the child itself is ended. */
const HAS_GROUPS = process.platform !== "win32"

/**
 * A group of its own is a session of its own as well: a child that shares the caller's terminal would
 * lose it, and with it Ctrl-C and its password prompts.
 */
function inOwnGroup({ stdio }: ChildRequest): boolean {
  return HAS_GROUPS && stdio === "log"
}

/** Ends a child; one in a group of its own with everything it started, unless that has left the group. */
class GroupKiller {
  readonly #child: ChildProcess
  readonly #clock: Clock
  readonly #graceMs: number
  readonly #wholeGroup: boolean
  #cancelKill: (() => void) | undefined
  #killed = false

  constructor(options: { child: ChildProcess; clock: Clock; graceMs: number; wholeGroup: boolean }) {
    this.#child = options.child
    this.#clock = options.clock
    this.#graceMs = options.graceMs
    this.#wholeGroup = options.wholeGroup
  }

  begin(): void {
    if (this.#cancelKill) return
    this.#signal("SIGTERM")
    this.#cancelKill = this.#clock.after(this.#graceMs, () => {
      this.#killed = true
      this.#signal("SIGKILL")
    })
  }

  /**
   * Call once the child itself has ended. As long as one of its group lives the group's number can't
   * be given to another, so it is looked at before each signal.
   */
  async finish(aborted: boolean): Promise<void> {
    if (!aborted || !this.#wholeGroup) return
    if (!this.#signal(0)) return
    this.begin()
    while (!this.#killed && this.#signal(0)) await this.#clock.sleep(POLL_MS)
  }

  cancel(): void {
    this.#cancelKill?.()
  }

  /** @returns whether there was anybody to signal. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#child
    if (pid === undefined) return false
    if (!this.#wholeGroup) return signal !== 0 && this.#child.kill(signal)
    try {
      return process.kill(-pid, signal)
    } catch (error) {
      // EPERM: the group lives but runs as another user. It can't be ended from here; ESRCH: it is gone.
      return error instanceof Error && "code" in error && error.code === "EPERM"
    }
  }
}
