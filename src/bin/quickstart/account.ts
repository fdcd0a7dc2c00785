import type { nextRun } from "./demonstration.ts"
import type { Demonstration } from "./demonstration.ts"
import { CONNECTOR, JOB, TENANT, USER, WORKER } from "./system.ts"
import type { System } from "./system.ts"

type Print = (line: string) => void

/** The short readable account of what happened. */
export function printAccount(system: System, { result, run, restoredTo }: Demonstration, startMs: number, print: Print): void {
  const { backup, restore, release } = result
  const pids = system.daemons.map(({ name, pid }) => `${name} ${String(pid)}`).join(", ")
  for (const line of [
    "",
    "What happened",
    `  1. The system came up in ${seconds(startMs)}: ${pids} (process ids). Gateway at ${system.url}.`,
    `  2. At ${new Date(run.startedAtMs).toISOString().slice(11, 19)} UTC the scheduler named the job "${JOB}" and the user ${USER} to ${run.worker ?? WORKER}.`,
    `  3. The connector ${TENANT}/${CONNECTOR} checked its own policy and released the ekey, sealed to that worker alone: ${release.ms.toFixed(1)} ms.`,
    `  4. ${backup.engine} backed up ${String(backup.files)} files, ${size(backup.bytes)}: ${seconds(backup.ms)}.`,
    `  5. A second operation got the ekey again and restored to ${restoredTo}: ${seconds(restore.ms)}, ${restore.identical ? "identical, byte by byte" : "NOT IDENTICAL"}.`,
    "",
    "Who held the ekey",
    "  the connector   in its vault, sealed under a root key that never left its folder",
    "  the worker      in memory, for one operation each",
    "  the backup tool on file descriptor 3, while it ran",
    "Who could not see it",
    "  the gateway, its database and its log: it relayed sealed bytes, and keeps a blind copy that it can't open",
    "  the authorities: they sign certificates, and see no ekey",
    "All of this ran as one OS user: it shows the separation, it does not enforce it.",
    `Logs are in ${system.places.logs}. The restored copy is left for you to look at, and removed at the next start.`,
  ]) print(line)
}

/** One line for a further scheduled run. */
export function printRun(run: Awaited<ReturnType<typeof nextRun>>, print: Print): void {
  const time = new Date(run.startedAtMs).toISOString().slice(11, 19)
  const { files = 0, bytes = 0, programMs = 0 } = run.statistics ?? {}
  print(run.state === "succeeded"
    ? `${time} UTC  backup succeeded: ${String(files)} files, ${size(bytes)}, ${seconds(programMs)}`
    : `${time} UTC  backup failed: ${run.reason ?? "unknown"} ${run.detail ?? ""}`)
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function size(bytes: number): string {
  if (bytes < 1000) return `${String(bytes)} bytes`
  const units = ["kB", "MB", "GB", "TB"]
  const power = Math.min(units.length, Math.floor(Math.log10(bytes) / 3))
  return `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1] ?? ""}`
}
