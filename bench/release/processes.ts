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

  /** Resident memory in MiB, where the system tells it (Linux). */
  async residentMiB(): Promise<number | null> {
    const status = await readFile(`/proc/${String(this.#child.pid)}/status`, "utf8").catch(() => "")
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
    return kib === undefined ? null : Number(kib) / 1024
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

  /** Ends them in the reverse order of their start. */
  async stop(): Promise<void> {
    for (const running of this.#running.splice(0).reverse()) await running.stop()
  }

  #add(name: string, start: (log: number) => ChildProcess): Running {
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
