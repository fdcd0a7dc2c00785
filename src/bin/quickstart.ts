#!/usr/bin/env node
import { realpath, stat } from "node:fs/promises"
import { basename, dirname, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { Command, Option } from "commander"
import { systemClock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { EXIT_FAILED, printLine, printNotice, runCli } from "./cli.ts"
import { printAccount, printRun } from "./quickstart/account.ts"
import { demonstrate, nextRun } from "./quickstart/demonstration.ts"
import type { Demonstration } from "./quickstart/demonstration.ts"
import { chooseEngine } from "./quickstart/engine.ts"
import type { Engine } from "./quickstart/engine.ts"
import { System } from "./quickstart/system.ts"
import { notEmpty } from "./options.ts"

const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

interface Flags { data: string; source: string; engine: "auto" | "restic" | "archive"; once?: true; json?: true }

const program = new Command("npm start --")
  .description("Brings the whole system up on loopback, makes a scheduled backup, restores it, compares, and goes on until Ctrl-C")
  .option("--data <dir>", "where everything is kept, across restarts", notEmpty, join(PROJECT, ".ekey"))
  .option("--source <dir>", "the folder to back up", notEmpty, join(PROJECT, "src"))
  .addOption(new Option("--engine <engine>", "the backup program").choices(["auto", "restic", "archive"]).default("auto"))
  .option("--once", "stop after the first backup and restore; exit code 0 only if the restored tree is identical")
  .option("--json", "print one JSON object as the last line")
  .showHelpAfterError("(add --help for the options and examples)")
  .addHelpText("after", `
Examples:
  $ npm start
  $ npm start -- --once --source ~/Documents --data /tmp/ekey-demo --json

Everything runs as one OS user: it shows the separation of the parts, it does not enforce it.
Exit codes: 0 stopped, or identical; 1 failed or not identical; 2 wrong command line.`)
  .action(quickstart)

await runCli(program)

async function quickstart(flags: Flags): Promise<void> {
  const data = resolve(flags.data)
  const source = await realFolder(flags.source)
  if (isInside(await realPathOf(data), source)) throw new EkeyError("ERR_USAGE", "--data: must not be inside --source, which would back itself up")
  const engine = await chooseEngine(flags.engine, process.env["PATH"] ?? "")
  if (!engine) throw new EkeyError("ERR_USAGE", "--engine restic: restic is not installed here")

  const system = new System({ data, source, engine, progress: (step) => { printNotice(`  … ${step}`) } })
  const { promise: asked, resolve: ask } = Promise.withResolvers<"signal">()
  let signals = 0
  const onSignal = (): void => {
    signals += 1
    // The daemons end by themselves when this process does.
    if (signals > 1) process.exit(130)
    ask("signal")
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal)
  try {
    const outcome = await Promise.race([asked, present(system, engine, source, flags)])
    if (outcome === "signal") {
      if (flags.once) process.exitCode = 130
    } else if (flags.once !== true) {
      await Promise.race([asked, goOn(system)])
    }
  } finally {
    printNotice("  … stopping")
    await system.stop()
  }
}

/** The folder itself, also behind a link: a link alone would be backed up as a link. */
async function realFolder(source: string): Promise<string> {
  const path = await realpath(source).catch((cause: unknown) => { throw new EkeyError("ERR_USAGE", `--source: ${source} is not there`, { cause }) })
  if (!(await stat(path)).isDirectory()) throw new EkeyError("ERR_USAGE", `--source: ${source} is not a folder`)
  return path
}

/** The real path of something that may not exist yet. */
async function realPathOf(path: string): Promise<string> {
  return await realpath(path).catch(async () => dirname(path) === path ? path : join(await realPathOf(dirname(path)), basename(path)))
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path)
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`))
}

async function present(system: System, engine: Engine, source: string, flags: Flags): Promise<Demonstration> {
  printNotice(`ekey-connector quickstart, data in ${system.places.data}`)
  const startedMs = systemClock.monotonicMs()
  await system.start()
  const startMs = systemClock.monotonicMs() - startedMs
  const demonstration = await demonstrate(system, engine, source, (step) => { printNotice(`  … ${step}`) })
  printAccount(system, demonstration, startMs, flags.json ? printNotice : printLine)
  if (flags.json) printLine(JSON.stringify(demonstration.result))
  if (!demonstration.result.restore.identical) {
    process.exitCode = EXIT_FAILED
    for (const difference of demonstration.differences) printNotice(`  ${difference}`)
    throw new EkeyError("ERR_ARCHIVE", "the restored tree differs from the source: did the source change meanwhile?")
  }
  return demonstration
}

/** Tells of every further run, until somebody asks to stop. */
async function goOn(system: System): Promise<never> {
  printLine("\nThe next backup follows within a minute, by schedule. Ctrl-C stops everything; the next start goes on from here.")
  let sinceMs = systemClock.now()
  for (;;) {
    const run = await nextRun(system, sinceMs)
    printRun(run, printLine)
    sinceMs = run.startedAtMs + 1
  }
}
