import type { Machine } from "./machine.ts"
import { IN_FLIGHT } from "./rounds.ts"
import type { Measured } from "./rounds.ts"
import type { Figures } from "./statistics.ts"

/** Resident memory of each process after the load, in MiB; null where the system does not tell. */
export type MemoryMiB = Readonly<Record<string, number | null>>

export interface Report extends Measured {
  readonly ratio: {
    /** Releases a second over relayed frames a second, 64 in flight: higher is better. */
    readonly throughput64: number
    /** A release's median latency over the relay's, 1 in flight: lower is better. */
    readonly p50At1: number
    /** Ekeys a second in bulk over releases a second at 64 in flight: higher is better. */
    readonly bulk: number
  }
  readonly memoryMiB: MemoryMiB
  readonly machine: Machine
}

export function createReport(measured: Measured, memoryMiB: MemoryMiB, machine: Machine): Report {
  const { release, relay, bulk } = measured
  return {
    ...measured,
    ratio: {
      throughput64: release[64].perSecond / relay[64].perSecond,
      p50At1: release[1].p50Ms / relay[1].p50Ms,
      bulk: bulk.perSecond / release[64].perSecond,
    },
    memoryMiB,
    machine,
  }
}

/** One object on one line; enough digits to compute with. */
export function toJson(report: Report): string {
  return JSON.stringify(report, (_, value: unknown) => typeof value === "number" ? Number(value.toPrecision(6)) : value)
}

/** Lines for a person; a Markdown table, so that they can be quoted. */
export function toLines(report: Report): string[] {
  const { release, relay, pipe, bulk, ratio, processorUs, usedByOthers, memoryMiB, machine } = report
  const row = (name: string, inFlight: string, { perSecond, p50Ms, p99Ms }: Figures): string =>
    `| ${name} | ${inFlight} | ${perSecond.toFixed(0)} | ${p50Ms.toFixed(3)} | ${p99Ms.toFixed(3)} |`
  return [
    "| | in flight | a second | p50 ms | p99 ms |",
    "| --- | --- | --- | --- | --- |",
    ...IN_FLIGHT.flatMap((inFlight) => [row("release", String(inFlight), release[inFlight]), row("raw relay", String(inFlight), relay[inFlight]), row("bare pipe", String(inFlight), pipe[inFlight])]),
    "",
    `bulk: ${bulk.perSecond.toFixed(0)} ekeys a second`,
    `ratios: throughput at 64 in flight ${ratio.throughput64.toFixed(2)} of the relay's, p50 at 1 in flight ${ratio.p50At1.toFixed(2)} x the relay's, bulk ${ratio.bulk.toFixed(1)} x single releases`,
    `of the bare pipe's: throughput at 64 in flight ${(release[64].perSecond / pipe[64].perSecond).toFixed(2)}, p50 at 1 in flight ${(release[1].p50Ms / pipe[1].p50Ms).toFixed(2)} x`,
    `processor time for one at 64 in flight, us: ${Object.entries(processorUs).map(([name, us]) => `${name} ${us.toFixed(1)}`).join(", ")}`,
    `memory, MiB resident: ${Object.entries(memoryMiB).map(([name, mib]) => `${name} ${mib === null ? "unknown" : mib.toFixed(0)}`).join(", ")}`,
    `machine: ${machine.cpu}, ${String(machine.cores)} cores, ${String(machine.memoryGiB)} GiB, ${machine.system}, Node ${machine.node}; others used ${(usedByOthers * 100).toFixed(0)} % of it meanwhile`,
  ]
}
