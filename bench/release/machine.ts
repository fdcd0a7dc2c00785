import { arch, cpus, platform, release, totalmem } from "node:os"

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
}

export function describeMachine(): Machine {
  const cores = cpus()
  return {
    cpu: cores[0]?.model.trim() || "unknown",
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  }
}

/** How busy all of the machine's processors are, so that others' load shows beside the figures. */
export class BusyMeter {
  readonly #before = sumTimes()

  /** Processor time used by everybody since the start of the measurement, and how much there was, in milliseconds. */
  read(): { readonly busyMs: number; readonly totalMs: number } {
    const { busyMs, totalMs } = sumTimes()
    return { busyMs: busyMs - this.#before.busyMs, totalMs: totalMs - this.#before.totalMs }
  }
}

function sumTimes(): { busyMs: number; totalMs: number } {
  const times = cpus().map((core) => core.times)
  const busyMs = times.reduce((sum, { user, nice, sys, irq }) => sum + user + nice + sys + irq, 0)
  return { busyMs, totalMs: times.reduce((sum, { idle }) => sum + idle, busyMs) }
}
