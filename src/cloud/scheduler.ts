import { randomBytes } from "node:crypto"
import { toBase64url } from "../base/bytes.ts"
import type { Clock } from "../base/clock.ts"
import { codeOf, describeError, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { WirePeer } from "../wire/link/gateway-link.ts"
import type { Outcome } from "../wire/messages/operation.ts"
import type { Cron } from "./cron.ts"
import type { Registry } from "./registry.ts"
import type { Runs } from "./storage/runs.ts"
import type { NewSchedule, Schedule, Schedules } from "./storage/schedules.ts"
import type { Users } from "./storage/users.ts"

/** How long a worker may take to accept a job. */
const START_WITHIN_MS = 10_000
/** A worker that is away this long has lost its runs. */
const WORKER_LOST_AFTER_MS = 120_000
const CHECK_EVERY_MS = 15_000

export interface SchedulerOptions {
  readonly schedules: Schedules
  readonly runs: Runs
  readonly users: Users
  readonly workers: Registry
  readonly cron: Cron
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

/** Starts jobs on workers by schedule, and keeps what became of each run. It names jobs; it knows no commands. */
export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #tasks = new Map<string, () => void>()
  /** Since when the worker of an unfinished run has been away. */
  readonly #awaySinceMs = new Map<string, number>()
  /** Schedules whose run is being started, so that two ticks can't start two. */
  readonly #starting = new Set<string>()

  constructor(options: SchedulerOptions) {
    this.#options = options
  }

  /** Runs until the signal: arms the stored schedules, and gives up runs whose worker stays away. */
  async run(signal: AbortSignal): Promise<void> {
    const { schedules, runs, clock, log } = this.#options
    for (const run of await runs.unfinished()) {
      // A run that no worker had taken when this process ended was never started.
      if (run.state === "starting") await runs.fail(run.id, { reason: "ERR_NO_WORKER", detail: "the cloud stopped before a worker took the job" })
    }
    for (const schedule of await schedules.list()) this.#arm(schedule)
    while (!signal.aborted) {
      await clock.sleep(CHECK_EVERY_MS, signal).catch(() => undefined) // Aborted: the loop condition ends it.
      await this.#giveUpLost().catch((error: unknown) => { log.error("runs not checked", describeError(error)) })
    }
    for (const stop of this.#tasks.values()) stop()
    this.#tasks.clear()
  }

  /** @throws EkeyError ERR_SCHEDULE, ERR_USER_UNKNOWN */
  async add(schedule: NewSchedule): Promise<void> {
    const { schedules, users, cron } = this.#options
    cron.check(schedule.cron)
    const user = await users.find(schedule.tenant, schedule.user)
    if (user?.state !== "active") throw new EkeyError("ERR_USER_UNKNOWN", "the user has no ekey here: add it first")
    await schedules.add(schedule)
    this.#arm(schedule)
  }

  /** @throws EkeyError ERR_SCHEDULE if there is none. Runs under way go on. */
  async remove(tenant: string, name: string): Promise<void> {
    if (!await this.#options.schedules.remove(tenant, name)) throw new EkeyError("ERR_SCHEDULE", "no such schedule")
    const key = keyOf(tenant, name)
    this.#tasks.get(key)?.()
    this.#tasks.delete(key)
  }

  /**
   * Starts a run now, as a tick does.
   * @returns the run's id; its outcome, failures to start included, is in the stored run.
   * @throws EkeyError ERR_SCHEDULE if there is no such schedule, ERR_JOB_BUSY while its last run goes on.
   */
  async start(tenant: string, name: string): Promise<string> {
    const schedule = await this.#options.schedules.find(tenant, name)
    if (!schedule) throw new EkeyError("ERR_SCHEDULE", "no such schedule")
    const key = keyOf(tenant, name)
    if (this.#starting.has(key)) throw new EkeyError("ERR_JOB_BUSY", "a run of this schedule is being started")
    this.#starting.add(key)
    try {
      return await this.#start(schedule)
    } finally {
      this.#starting.delete(key)
    }
  }

  /** Takes a worker's report of a run's end. Repeating it changes nothing; another worker's run is unknown. */
  async finished(tenant: string, worker: string, id: string, outcome: Outcome): Promise<void> {
    const { runs, log } = this.#options
    const run = await runs.find(tenant, id)
    if (run?.worker !== worker) throw new EkeyError("ERR_OPERATION", "no such run")
    const changed = outcome.state === "succeeded"
      ? await runs.succeed(id, { exitCode: outcome.exitCode, statistics: outcome.statistics })
      : await runs.fail(id, { reason: outcome.reason, detail: outcome.detail, exitCode: outcome.exitCode })
    if (changed) log.info("run ended", { tenant, run: id, schedule: run.schedule, state: outcome.state, reason: outcome.state === "failed" ? outcome.reason : null })
  }

  /** A worker said which runs it still has: the others of its own are lost. */
  async reconcile(tenant: string, worker: string, runsUnderWay: readonly string[]): Promise<void> {
    const { runs } = this.#options
    for (const run of await runs.unfinishedOf(tenant, worker)) {
      if (!runsUnderWay.includes(run.id)) await this.#lose(run.id, "the worker restarted")
    }
  }

  #arm(schedule: NewSchedule): void {
    const { cron, log } = this.#options
    const { tenant, name } = schedule
    if (!schedule.enabled) return
    this.#tasks.set(keyOf(tenant, name), cron.start(schedule.cron, () => {
      this.start(tenant, name).catch((error: unknown) => { log.warn("run not started", { tenant, schedule: name, ...describeError(error) }) })
    }))
  }

  async #start(schedule: Schedule): Promise<string> {
    const { runs, workers, random, log } = this.#options
    const { tenant, name, job, user, product, workflow, parameters } = schedule
    const last = (await runs.last(tenant, name, 1))[0]
    if (last && (last.state === "starting" || last.state === "running")) throw new EkeyError("ERR_JOB_BUSY", "the last run of this schedule is under way")
    const id = toBase64url(randomBytes(16))
    await runs.start({ id, tenant, schedule: name, user, job })
    const able = workers.of(tenant).filter((worker) => worker.jobs.has(job))
    const worker = able[Math.floor(random() * able.length)]
    if (!worker) {
      await this.#failToStart(id, new EkeyError("ERR_NO_WORKER", "no worker that knows the job is connected"))
      return id
    }
    // Assigned first: the report of a quick job may overtake the answer to its start.
    await runs.assign(id, worker.name)
    log.info("run started", { tenant, run: id, schedule: name, job, worker: worker.name })
    try {
      await worker.peer.call("job.start", { run: id, job, user, product, workflow, parameters }, START_WITHIN_MS)
    } catch (error) {
      await this.#failToStart(id, error)
      if (codeOf(error) === "ERR_DEADLINE") this.#cancel(worker.peer, id)
    }
    return id
  }

  async #failToStart(id: string, error: unknown): Promise<void> {
    const { runs, log } = this.#options
    const reason = codeOf(error) ?? "ERR_INTERNAL"
    log.warn("run failed to start", { run: id, ...describeError(error) })
    await runs.fail(id, { reason, detail: error instanceof EkeyError ? error.message : "internal error" })
  }

  /** A worker that answered too late may have the job all the same: what was given up must not go on. */
  #cancel(peer: WirePeer, run: string): void {
    peer.call("job.cancel", { run }, START_WITHIN_MS).catch((error: unknown) => {
      this.#options.log.warn("run not cancelled", { run, ...describeError(error) })
    })
  }

  async #giveUpLost(): Promise<void> {
    const { runs, workers, clock } = this.#options
    const unfinished = await runs.unfinished()
    const ids = new Set(unfinished.map(({ id }) => id))
    for (const id of this.#awaySinceMs.keys()) if (!ids.has(id)) this.#awaySinceMs.delete(id)
    for (const run of unfinished) {
      if (run.worker === null || workers.of(run.tenant).some((worker) => worker.name === run.worker && worker.jobs.size > 0)) {
        this.#awaySinceMs.delete(run.id)
        continue
      }
      const sinceMs = this.#awaySinceMs.get(run.id) ?? clock.monotonicMs()
      this.#awaySinceMs.set(run.id, sinceMs)
      if (clock.monotonicMs() - sinceMs >= WORKER_LOST_AFTER_MS) await this.#lose(run.id, "the worker stayed away")
    }
  }

  async #lose(id: string, detail: string): Promise<void> {
    this.#awaySinceMs.delete(id)
    const changed = await this.#options.runs.fail(id, { reason: "ERR_WORKER_LOST", detail })
    if (changed) this.#options.log.warn("run lost", { run: id, detail })
  }
}

function keyOf(tenant: string, name: string): string {
  return `${tenant}/${name}`
}
