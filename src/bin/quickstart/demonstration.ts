import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { systemClock } from "../../base/clock.ts"
import { codeOf, EkeyError } from "../../base/errors.ts"
import type { Engine } from "./engine.ts"
import { JOB, TENANT, USER } from "./system.ts"
import type { System } from "./system.ts"
import { compareTrees } from "./tree.ts"

const ASK_WITHIN_MS = 30_000
const RUN_WITHIN_MS = 60 * 60_000
const POLL_EVERY_MS = 250
export const SCHEDULE = "every-minute"

/** What `--json` prints. */
export interface Result {
  readonly backup: { readonly files: number; readonly bytes: number; readonly engine: Engine["name"]; readonly ms: number }
  readonly restore: { readonly identical: boolean; readonly ms: number }
  readonly release: { readonly ms: number }
  readonly custody: "connector"
}

export interface Demonstration {
  readonly result: Result
  readonly run: { readonly id: string; readonly worker: string | null; readonly startedAtMs: number }
  readonly restoredTo: string
  readonly differences: readonly string[]
}

const Counters = z.object({ files: z.number(), bytes: z.number(), releaseMs: z.number(), programMs: z.number() })

/** One backup started by the scheduler, one restore, and the comparison of the two trees. */
export async function demonstrate(system: System, engine: Engine, source: string, progress: (step: string) => void): Promise<Demonstration> {
  const { repository, restored } = system.places
  progress("an ekey for the sample user, durable in two places")
  await addUser(system)
  const init = engine.init(repository)
  if (init && (await readdir(repository)).length === 0) await system.exec("backup.manual", init)

  progress("waiting for the scheduler to start the backup")
  const sinceMs = systemClock.now()
  await scheduleEveryMinute(system)
  const run = await nextRun(system, sinceMs)
  if (run.state === "failed") throw new EkeyError("ERR_JOB_FAILED", `the backup failed: ${run.reason ?? "unknown"}: ${readable(run.detail ?? "")}`)
  const { files, bytes, releaseMs, programMs } = Counters.parse(run.statistics)

  progress("restoring elsewhere, and comparing byte by byte")
  await rm(restored, { recursive: true, force: true })
  const target = join(restored, new Date(systemClock.now()).toISOString().replaceAll(":", "-"))
  const restoreAtMs = systemClock.monotonicMs()
  await system.exec("restore.admin.copy", engine.restore(repository, target))
  const restoreMs = systemClock.monotonicMs() - restoreAtMs
  const restoredTo = engine.restoredPath(target, source)
  const { differences } = await compareTrees(source, restoredTo)
  return {
    result: {
      backup: { files, bytes, engine: engine.name, ms: Math.round(programMs) },
      restore: { identical: differences.length === 0, ms: Math.round(restoreMs) },
      release: { ms: Math.round(releaseMs * 100) / 100 },
      custody: "connector",
    },
    run, restoredTo, differences,
  }
}

/** Without the lines that a backup program prints for programs. */
function readable(detail: string): string {
  return detail.split("\n").filter((line) => !line.trimStart().startsWith("{")).join("\n").trim() || detail
}

async function addUser(system: System): Promise<void> {
  try {
    await system.admin.call("user.add", { tenant: TENANT, user: USER }, ASK_WITHIN_MS)
  } catch (error) {
    if (codeOf(error) !== "ERR_USER_EXISTS") throw error
  }
}

/** Each minute, first in two seconds: the schedule of an earlier start may be just past. */
async function scheduleEveryMinute(system: System): Promise<void> {
  try {
    await system.admin.call("schedule.remove", { tenant: TENANT, name: SCHEDULE }, ASK_WITHIN_MS)
  } catch (error) {
    if (codeOf(error) !== "ERR_SCHEDULE") throw error
  }
  const second = new Date(systemClock.now() + 2_000).getUTCSeconds()
  const schedule = { name: SCHEDULE, user: USER, product: "microsoft-365", workflow: "backup.scheduled", job: JOB, cron: `${String(second)} * * * * *`, parameters: {}, enabled: true } as const
  await system.admin.call("schedule.add", { tenant: TENANT, schedule }, ASK_WITHIN_MS)
}

/** The first run that started after `sinceMs`, once it has ended. */
export async function nextRun(system: System, sinceMs: number, signal?: AbortSignal) {
  const untilMs = systemClock.monotonicMs() + RUN_WITHIN_MS
  for (;;) {
    const { runs } = await system.admin.call("run.list", { tenant: TENANT, schedule: SCHEDULE, limit: 20 }, ASK_WITHIN_MS)
    const run = runs.filter((each) => each.startedAtMs >= sinceMs).at(-1)
    if (run?.endedAtMs != null) return run
    if (systemClock.monotonicMs() > untilMs) throw new EkeyError("ERR_DEADLINE", "the scheduled backup did not end in time")
    await systemClock.sleep(POLL_EVERY_MS, signal)
  }
}
