import { fork, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { z } from "zod"
import { systemClock } from "../../src/base/clock.ts"
import type { Order } from "./orders.ts"

const Answer = z.union([z.strictObject({ error: z.string() }), z.strictObject({ result: z.unknown().optional() })])

const POLL_EVERY_MS = 20
const READY_WITHIN_MS = 60_000
const STOP_WITHIN_MS = 5_000

/** One process of the benchmark; its stdout and stderr are a file. */
export class Running {
  readonly name: string
  readonly #child: ChildProcess
  readonly #logFile: string
  readonly #ended: Promise<string>

  constructor(name: string, child: ChildProcess, logFile: string) {
    this.name = name
    this.#child = child
    this.#logFile = logFile
    const { promise, resolve } = Promise.withResolvers<string>()
    child.once("error", (error) => { resolve(error.message) })
    child.once("exit", (code, signal) => { resolve(`exit ${String(code ?? signal)}`) })
    this.#ended = promise
  }

  /** Sends an order to a forked process and waits for its answer. */
  async obey(order: Order): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#child.once("message", resolve)
    void this.#ended.then(async (end) => { reject(await this.#endedEarly(end)) })
    this.#child.send(order)
    const answer = Answer.parse(await promise)
    if ("error" in answer) throw new Error(`${this.name}: ${answer.error}`)
    return answer.result
  }

  /** Waits for a log event of a program. @returns its fields. */
  async event(name: string): Promise<Record<string, unknown>> {
    const untilMs = systemClock.monotonicMs() + READY_WITHIN_MS
    let end: string | undefined
    void this.#ended.then((reason) => { end = reason })
    while (systemClock.monotonicMs() < untilMs) {
      const line = (await readFile(this.#logFile, "utf8")).split("\n").find((text) => text.includes(`"event":"${name}"`))
      if (line !== undefined) return z.record(z.string(), z.unknown()).parse(JSON.parse(line))
      if (end !== undefined) throw await this.#endedEarly(end)
      await systemClock.sleep(POLL_EVERY_MS)
    }
    throw new Error(`${this.name}: no "${name}" in its log`)
  }

  /** Processor time used so far, in milliseconds, all threads; in steps of 10; 0 where the system does not tell (other than Linux). */
  async processorMs(): Promise<number> {
    const stat = await readFile(`/proc/${String(this.#child.pid)}/stat`, "utf8").catch(() => "")
    // proc(5): the name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it, in ticks of 10 ms.
    const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13)
    return user === undefined || system === undefined ? 0 : (Number(user) + Number(system)) * 10
  }

  /** Resident memory in MiB, where the system tells it (Linux). */
  async residentMiB(): Promise<number | null> {
    const status = await readFile(`/proc/${String(this.#child.pid)}/status`, "utf8").catch(() => "")
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
    return kib === undefined ? null : Number(kib) / 1024
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill("SIGKILL")
  }

  /** Asks it to end, and makes it end if it does not. */
  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    else this.#child.kill("SIGTERM")
    const cancel = systemClock.after(STOP_WITHIN_MS, () => this.#child.kill("SIGKILL"))
    await this.#ended
    cancel()
  }

  async #endedEarly(end: string): Promise<Error> {
    const log = await readFile(this.#logFile, "utf8").catch(() => "")
    return new Error(`${this.name} ended (${end}):\n${log.slice(-2000)}`)
  }
}

/** Starts the benchmark's processes and ends them all. */
export class Processes {
  readonly #folder: string
  readonly #running: Running[] = []
  #stopping = false

  /** @param folder for their logs. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** A program of the product. */
  program(name: string, file: string, args: readonly string[], nodeArgs: readonly string[] = []): Running {
    return this.#add(name, (log) => spawn(process.execPath, [...process.execArgv, ...nodeArgs, sourceFile(`../../src/bin/${file}`), ...args], { stdio: ["ignore", log, log] }))
  }

  /** A process of the benchmark that takes orders. */
  helper(name: string, file: string, args: readonly string[] = [], nodeArgs: readonly string[] = []): Running {
    return this.#add(name, (log) => fork(sourceFile(file), args, { execArgv: [...process.execArgv, ...nodeArgs], stdio: ["ignore", log, log, "ipc"] }))
  }

  /** Ends them all; the last started first, since the others serve them. Nothing can be started afterwards. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (let running = this.#running.at(-1); running; running = this.#running.at(-1)) {
      await running.stop()
      this.#running.splice(this.#running.indexOf(running), 1)
    }
  }

  /** For a process that ends by a defect: leaves none behind, without waiting. */
  kill(): void {
    for (const running of this.#running) running.kill()
  }

  #add(name: string, start: (log: number) => ChildProcess): Running {
    if (this.#stopping) throw new Error("interrupted")
    const logFile = join(this.#folder, `${name}.log`)
    const log = openSync(logFile, "a", 0o600)
    try {
      const running = new Running(name, start(log), logFile)
      this.#running.push(running)
      return running
    } finally {
      closeSync(log)
    }
  }
}

function sourceFile(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
