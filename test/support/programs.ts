import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { z } from "zod"
import { until } from "./until.ts"

export type Program = "ekey-cloud" | "ekey-connector" | "ekey-worker"

export interface Ended {
  /** `null` if a signal ended it. */
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const LogLine = z.looseObject({ event: z.string() })
export type LogLine = z.infer<typeof LogLine>

/** The real programs as real processes, which share one folder and end with the test. */
export class Programs {
  readonly folder: string
  readonly #children = new Set<ChildProcess>()

  /** Everything runs in `folder`. */
  constructor(folder: string) {
    this.folder = folder
  }

  /** Runs a command to its end. `stdin`: default nothing. */
  async run(program: Program, args: readonly string[], options: { stdin?: string } = {}): Promise<Ended> {
    const child = this.#spawn(program, args)
    child.stdin?.end(options.stdin ?? "")
    const closed = once(child, "close") as Promise<[number | null]>
    const [out, err] = await Promise.all([child.stdout ? text(child.stdout) : "", child.stderr ? text(child.stderr) : ""])
    return { code: (await closed)[0], out, err }
  }

  /** Starts a daemon. It runs before it is ready: wait for its log. */
  start(program: Program, args: readonly string[]): Daemon {
    return new Daemon(this.#spawn(program, args))
  }

  /** Kills whatever still runs. */
  async close(): Promise<void> {
    await Promise.all([...this.#children].map(async (child) => {
      const closed = once(child, "close")
      child.kill("SIGKILL")
      await closed
    }))
  }

  #spawn(program: Program, args: readonly string[]): ChildProcess {
    const main = fileURLToPath(new URL(`../../src/bin/${program}.ts`, import.meta.url))
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...args], {
      cwd: this.folder, stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "", HOME: this.folder, NODE_COMPILE_CACHE: `${this.folder}/compiled` },
    })
    this.#children.add(child)
    child.stdin.on("error", () => undefined)
    child.once("close", () => this.#children.delete(child))
    return child
  }
}

/** A program that goes on until it is told to end. */
export class Daemon {
  readonly lines: LogLine[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  #rest = ""
  #err = ""

  constructor(child: ChildProcess) {
    this.#child = child
    this.#exited = once(child, "exit").then(([code]: unknown[]) => typeof code === "number" ? code : null)
    child.stdout?.on("data", (chunk: Buffer) => { this.#read(chunk.toString()) })
    child.stderr?.on("data", (chunk: Buffer) => { this.#err += chunk.toString() })
  }

  /** The first line of that event, or the first after `from` lines. */
  async logged(event: string, from = 0, withinMs = 30_000): Promise<LogLine> {
    return await until(`"${event}" in the log of ${this.#child.spawnargs.slice(2).join(" ")}\n${this.#err}${this.lines.slice(-5).map((line) => JSON.stringify(line)).join("\n")}`, () => {
      if (this.#child.exitCode !== null) throw new Error(`it ended with ${String(this.#child.exitCode)} before "${event}": ${this.#err}`)
      return this.lines.slice(from).find((line) => line.event === event)
    }, withinMs)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Signals, and waits for the end. @returns the exit code, or `null` if a signal ended it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.signal(signal)
    return await this.#exited
  }

  #read(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n")
    this.#rest = lines.pop() ?? ""
    for (const line of lines) this.lines.push(LogLine.parse(JSON.parse(line)))
  }
}
