import { rmSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Command } from "commander"
import { systemClock } from "../../src/base/clock.ts"
import { printLine } from "../../src/bin/cli.ts"
import { describeMachine } from "./machine.ts"
import { Processes } from "./processes.ts"
import { readProfile, sharesOf } from "./profile.ts"
import { startRelay } from "./relay.ts"
import { createReport, toJson, toLines } from "./report.ts"
import { load, measure } from "./rounds.ts"
import { startSystem } from "./system.ts"
import type { System } from "./system.ts"

interface Flags { json?: true; quick?: true; profile?: string }
type Progress = (line: string) => void

const EXIT_INTERRUPTED = 130

/** `--quick` ends within 30 s, setup and clean-up included: windows get what the setup has left of this. */
const QUICK = { rounds: 3, warmUpMs: 1_000, untilMs: 25_000, windowMs: { min: 150, max: 600 } }
const FULL = { rounds: 5, warmUpMs: 3_000, windowMs: 2_000 }
const PROFILE = { warmUpMs: 5_000, windowMs: 10_000, sampleEveryUs: 200, functions: 12 }
const MEASURED = ["worker", "gateway", "connector"] as const

export function releaseCommand(progress: Progress): Command {
  return new Command("release")
    .showHelpAfterError("(add --help for the options and examples)")
    .description("releases of ekeys through worker, gateway and connector, beside a raw relay of frames of the same size")
    .option("--quick", "short windows: done within 30 s")
    .option("--json", "print one JSON object as the last line")
    .option("--profile <dir>", "measure nothing: write a CPU profile of each of the three processes at 64 in flight, and sum them up")
    .addHelpText("after", `
Examples:
  $ npm run bench -- release
  $ npm run bench -- release --quick --json
  $ npm run bench -- release --profile /tmp/profiles

Progress goes to stderr.
Exit codes: 0 measured, 1 failed, 2 wrong command line, 130 interrupted.`)
    .action(async (flags: Flags) => { await run(flags, progress) })
}

async function run(flags: Flags, progress: Progress): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ekey-bench-"))
  const processes = new Processes(folder)
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<"interrupted">()
  const onSignal = (): void => { interrupt("interrupted") }
  const onExit = (): void => {
    processes.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("exit", onExit)
  try {
    const work = flags.profile === undefined ? compare(flags, processes, folder, progress) : profile(resolve(flags.profile), processes, folder, progress)
    // Once interrupted, its processes end one after the other: that is no failure of its own.
    work.catch(() => undefined)
    if (await Promise.race([work, interrupted]) === "interrupted") process.exitCode = EXIT_INTERRUPTED
  } finally {
    await processes.stop()
    await rm(folder, { recursive: true, force: true })
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal).off("exit", onExit)
  }
}

async function compare({ quick, json }: Flags, processes: Processes, folder: string, progress: Progress): Promise<void> {
  const system = await startSystem({ processes, folder, nodeArgs: () => [], progress })
  const relay = await startRelay(processes, folder, "json")
  const pipe = await startRelay(processes, folder, "pipe")
  const { rounds, warmUpMs } = quick ? QUICK : FULL
  const measured = await measure({ system, relay, pipe, rounds, warmUpMs, windowMs: quick ? quickWindowMs : () => FULL.windowMs, progress })
  const resident = Object.entries({ ...system, ...relay }).map(async ([name, running]) => [name, await running.residentMiB()] as const)
  const report = createReport(measured, Object.fromEntries(await Promise.all(resident)), describeMachine())
  for (const line of toLines(report)) printLine(line)
  if (json) printLine(toJson(report))
}

/** Time counts from the start of this process. */
function quickWindowMs(windowsLeft: number): number {
  const { min, max } = QUICK.windowMs
  return Math.min(max, Math.max(min, (QUICK.untilMs - systemClock.monotonicMs()) / windowsLeft))
}

async function profile(target: string, processes: Processes, folder: string, progress: Progress): Promise<void> {
  await mkdir(target, { recursive: true })
  const fileOf = (name: keyof System): string => `${name}.cpuprofile`
  const nodeArgs = (name: keyof System): string[] => ["--cpu-prof", `--cpu-prof-dir=${target}`, `--cpu-prof-name=${fileOf(name)}`, `--cpu-prof-interval=${String(PROFILE.sampleEveryUs)}`]
  const { worker } = await startSystem({ processes, folder, nodeArgs, progress })
  progress("warming up")
  await load(worker, { do: "load", kind: "single", inFlight: 64, windowMs: PROFILE.warmUpMs })
  progress("profiling")
  const window = await load(worker, { do: "load", kind: "single", inFlight: 64, windowMs: PROFILE.windowMs })
  // A process writes its profile when it ends.
  await processes.stop()
  printLine(`${window.perSecond.toFixed(0)} releases a second while profiled`)
  for (const name of MEASURED) {
    const { busy, groups, functions } = sharesOf(await readProfile(join(target, fileOf(name))), window)
    printLine(`\n${name}, busy ${percent(busy)} of the time`)
    for (const [group, share] of groups) printLine(`  ${percent(share)}  ${group}`)
    printLine("  of which the largest functions:")
    for (const [label, share] of functions.slice(0, PROFILE.functions)) printLine(`  ${percent(share)}  ${label}`)
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`.padStart(6)
}
