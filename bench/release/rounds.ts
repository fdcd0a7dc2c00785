import { BusyMeter } from "./machine.ts"
import { Window } from "./orders.ts"
import type { LoadOrder } from "./orders.ts"
import type { Running } from "./processes.ts"
import type { Relay } from "./relay.ts"
import { BULK_IN_FLIGHT, BULK_USERS } from "./scene.ts"
import { median, medianFigures } from "./statistics.ts"
import type { Figures } from "./statistics.ts"
import type { System } from "./system.ts"

export const IN_FLIGHT = [1, 64, 256] as const
const METERED = 64
type ByInFlight = Record<(typeof IN_FLIGHT)[number], Figures>

/** What the rounds showed: medians. */
export interface Measured {
  readonly release: ByInFlight
  /** The raw relay: JSON over plain ws. */
  readonly relay: ByInFlight
  /** The least that three hops can be: unparsed texts over the batching transport. */
  readonly pipe: ByInFlight
  /** Ekeys, not requests. */
  readonly bulk: { readonly perSecond: number }
  /** Processor time for one request at 64 in flight, in microseconds, all threads of each process. */
  readonly processorUs: Readonly<Record<string, number>>
  /** Share of the machine's processors that others used meanwhile, 0 to 1: above a few hundredths, measure again. */
  readonly usedByOthers: number
}

export interface RoundsOptions {
  readonly system: System
  readonly relay: Relay
  readonly pipe: Relay
  readonly rounds: number
  readonly warmUpMs: number
  /** Given how many windows are left, warm-up included as none. */
  readonly windowMs: (windowsLeft: number) => number
  readonly progress: (line: string) => void
}

/** Windows of one round: both sides at each level, and one of bulk. */
const WINDOWS_A_ROUND = 3 * IN_FLIGHT.length + 1

/**
 * Takes turns between the system and the relays, so that whatever else the machine does falls on both;
 * who goes first alternates too. Neither has anything to do while the other is measured.
 */
export async function measure(options: RoundsOptions): Promise<Measured> {
  const { system, relay, pipe, rounds, warmUpMs, progress } = options
  const single = (inFlight: number, windowMs: number): LoadOrder => ({ do: "load", kind: "single", inFlight, windowMs })
  progress("warming up")
  await load(relay.near, single(64, warmUpMs))
  await load(pipe.near, single(64, warmUpMs / 2))
  await load(system.worker, single(64, 2 * warmUpMs))
  await load(system.worker, { do: "load", kind: "bulk", inFlight: BULK_IN_FLIGHT, windowMs: warmUpMs / 2 })

  const meter = new BusyMeter()
  const ownBeforeMs = await totalProcessorMs([...processesOf(system), ...processesOf(relay), ...processesOf(pipe)])
  const processorUs = new Map<string, number[]>()
  const releases = seriesByInFlight()
  const relays = seriesByInFlight()
  const pipes = seriesByInFlight()
  const bulks: number[] = []
  let left = rounds * WINDOWS_A_ROUND
  const nextWindowMs = (): number => options.windowMs(left--)
  for (let round = 1; round <= rounds; round++) {
    for (const inFlight of IN_FLIGHT) {
      const sides = [
        async () => relays[inFlight].push(await metered(relay, relay.near, single(inFlight, nextWindowMs()), processorUs)),
        async () => pipes[inFlight].push(await metered(pipe, pipe.near, single(inFlight, nextWindowMs()), processorUs)),
        async () => releases[inFlight].push(await metered(system, system.worker, single(inFlight, nextWindowMs()), processorUs)),
      ]
      for (const side of round % 2 === 0 ? sides.reverse() : sides) await side()
    }
    const bulk = await load(system.worker, { do: "load", kind: "bulk", inFlight: BULK_IN_FLIGHT, windowMs: nextWindowMs() })
    bulks.push(bulk.perSecond * BULK_USERS)
    progress(`round ${String(round)} of ${String(rounds)}: ${summary(releases, relays, bulks)}`)
  }
  const { busyMs, totalMs } = meter.read()
  const ownMs = await totalProcessorMs([...processesOf(system), ...processesOf(relay), ...processesOf(pipe)]) - ownBeforeMs
  return {
    release: medians(releases), relay: medians(relays), pipe: medians(pipes), bulk: { perSecond: median(bulks) },
    processorUs: Object.fromEntries([...processorUs].map(([name, values]) => [name, median(values)])),
    usedByOthers: Math.max(0, (busyMs - ownMs) / totalMs),
  }
}

/** Loads `process`; at METERED in flight it notes what that cost each process of its side. */
async function metered(side: System | Relay, process: Running, order: LoadOrder, processorUs: Map<string, number[]>): Promise<Window> {
  if (order.inFlight !== METERED) return await load(process, order)
  const running = processesOf(side)
  const before = await Promise.all(running.map((each) => each.processorMs()))
  const window = await load(process, order)
  for (const [index, each] of running.entries()) {
    const usedMs = await each.processorMs() - (before[index] ?? 0)
    processorUs.set(each.name, [...processorUs.get(each.name) ?? [], usedMs * 1000 / (window.perSecond * order.windowMs / 1000)])
  }
  return window
}

function processesOf(side: System | Relay): Running[] {
  return Object.values<Running>({ ...side })
}

async function totalProcessorMs(processes: readonly Running[]): Promise<number> {
  return (await Promise.all(processes.map((each) => each.processorMs()))).reduce((sum, ms) => sum + ms, 0)
}

/** Asks one process for one window of load. */
export async function load(process: Running, order: LoadOrder): Promise<Window> {
  return Window.parse(await process.obey(order))
}

type Series = Record<(typeof IN_FLIGHT)[number], Figures[]>

function seriesByInFlight(): Series {
  return { 1: [], 64: [], 256: [] }
}

function medians(series: Series): ByInFlight {
  return { 1: medianFigures(series[1]), 64: medianFigures(series[64]), 256: medianFigures(series[256]) }
}

function summary(releases: Series, relays: Series, bulks: readonly number[]): string {
  const of = (series: Series): string => IN_FLIGHT.map((inFlight) => Math.round(series[inFlight].at(-1)?.perSecond ?? 0)).join("/")
  return `releases/s ${of(releases)}, relayed/s ${of(relays)}, bulk ekeys/s ${String(Math.round(bulks.at(-1) ?? 0))}`
}
