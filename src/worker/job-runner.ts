import type { Clock } from "../base/clock.ts"
import { codeOf, describeError, EkeyError } from "../base/errors.ts"
import type { Logger } from "../base/logger.ts"
import type { JobStartParams } from "../wire/messages/job.ts"
import type { Outcome, Statistics } from "../wire/messages/operation.ts"
import { runChild } from "./child-process.ts"
import type { ChildResult } from "./child-process.ts"
import type { EkeyClient, Operation } from "./client.ts"
import { withEkeyHandoff } from "./ekey-handoff.ts"
import { buildCommand } from "./job-command.ts"
import type { JobCommand } from "./job-command.ts"
import { allowsWorkflow } from "./job-definition.ts"
import type { JobDefinition } from "./job-definition.ts"
import { readStatistics } from "./job-statistics.ts"

/** Runs at once, whatever the cloud asks for. */
const MAX_RUNS = 32

/** Between two tries to tell the cloud how a run ended. */
const REPORT_EVERY_MS = 5_000
const REPORT_WITHIN_MS = 10_000

export interface JobRunnerOptions {
  readonly jobs: Readonly<Record<string, JobDefinition>>
  readonly client: EkeyClient
  /** Tells the cloud how a run ended. Rejects when it could not be told. */
  readonly report: (run: string, outcome: Outcome, deadlineMs: number) => Promise<void>
  /** What every job's program finds in its environment. */
  readonly environment: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly log: Logger
  /** Ends everything. */
  readonly signal: AbortSignal
}

interface RunUnderWay {
  readonly cancel: AbortController
  readonly done: Promise<void>
}

/** Runs the jobs that the cloud names, as the worker's own config defines them. */
export class JobRunner {
  readonly #options: JobRunnerOptions
  readonly #runs = new Map<string, RunUnderWay>()

  constructor(options: JobRunnerOptions) {
    this.#options = options
  }

  /** Runs whose end the cloud has not been told yet. */
  get runs(): readonly string[] {
    return [...this.#runs.keys()]
  }

  /**
   * Begins a run and returns; repeating it changes nothing.
   * @throws EkeyError ERR_JOB for an unknown job, a workflow or a parameter that it does not allow,
   * ERR_DRAINING once everything is being ended: nothing is run.
   */
  start(params: JobStartParams): void {
    const { jobs, signal, log } = this.#options
    if (this.#runs.has(params.run)) return
    if (signal.aborted) throw new EkeyError("ERR_DRAINING", "this worker is shutting down")
    if (this.#runs.size >= MAX_RUNS) throw new EkeyError("ERR_OVERLOADED", "too many runs are under way here")
    const job = Object.hasOwn(jobs, params.job) ? jobs[params.job] : undefined
    if (!job) throw new EkeyError("ERR_JOB", "the job is not defined here")
    if (!allowsWorkflow(job, params.workflow)) throw new EkeyError("ERR_JOB", "the job is not for this workflow")
    const command = buildCommand(job, params)
    const cancel = new AbortController()
    const ended = AbortSignal.any([signal, cancel.signal])
    log.info("job started", { run: params.run, job: params.job, user: params.user, workflow: params.workflow })
    const done = this.#run(params, job, command, ended).finally(() => { this.#runs.delete(params.run) })
    this.#runs.set(params.run, { cancel, done })
  }

  /** Ends a run's program; its outcome is reported as failed. Unknown runs are ignored. */
  cancel(run: string): void {
    this.#runs.get(run)?.cancel.abort()
  }

  /** Resolves when every run has ended, which the signal makes them do. */
  async idle(): Promise<void> {
    await Promise.all([...this.#runs.values()].map(({ done }) => done))
  }

  async #run(params: JobStartParams, job: JobDefinition, command: JobCommand, signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    const outcome = await this.#execute(params, job, command, signal).catch(toFailure)
    log.info("job ended", {
      run: params.run, job: params.job, state: outcome.state, exitCode: outcome.exitCode,
      ...(outcome.state === "failed" ? { reason: outcome.reason, detail: outcome.detail } : {}),
    })
    await this.#tell(params.run, outcome)
  }

  async #execute(params: JobStartParams, job: JobDefinition, command: JobCommand, signal: AbortSignal): Promise<Outcome> {
    const { client, clock } = this.#options
    refuseCancelled(signal)
    const operation = await client.begin({ product: params.product, workflow: params.workflow, run: params.run })
    try {
      refuseCancelled(signal)
      const askedMs = clock.monotonicMs()
      const { ekey } = await operation.release(params.user, { reason: `job ${params.job}` })
      const releaseMs = clock.monotonicMs() - askedMs
      const outcome = await ekey.consume((bytes) => this.#runProgram(job, command, bytes, releaseMs, signal))
      await this.#end(operation, outcome)
      return outcome
    } catch (error) {
      await this.#end(operation, toFailure(error))
      throw error
    }
  }

  async #runProgram(job: JobDefinition, command: JobCommand, ekey: Uint8Array, releaseMs: number, signal: AbortSignal): Promise<Outcome> {
    refuseCancelled(signal)
    const { environment, clock, log } = this.#options
    const timeout = new AbortController()
    const cancelTimeout = clock.after(job.timeoutSeconds * 1000, () => { timeout.abort() })
    let counters: Statistics = {}
    const startedMs = clock.monotonicMs()
    try {
      const result = await withEkeyHandoff(job.handoff, ekey, ({ env, extraStdio, mask }) => runChild({
        program: command.program,
        args: command.args,
        env: { ...environment, ...command.env, ...env },
        stdio: "log",
        extraStdio,
        mask,
        signal: AbortSignal.any([signal, timeout.signal]),
        clock,
        onLine: (line, stream) => {
          if (stream === "stdout") counters = readStatistics(line, job.statistics ?? {}) ?? counters
          log.debug("job output", { stream, line })
        },
      }))
      if (timeout.signal.aborted) return failed(result, `the program took longer than ${String(job.timeoutSeconds)} s`)
      if (this.#options.signal.aborted) return { ...failed(result, "the worker was stopped while the job ran"), reason: "ERR_DRAINING" }
      if (signal.aborted) return failed(result, CANCELLED)
      if (result.exitCode !== 0) return failed(result, `exit code ${String(result.exitCode)}: ${result.tail}`)
      return { state: "succeeded", exitCode: 0, statistics: { ...counters, releaseMs, programMs: clock.monotonicMs() - startedMs } }
    } finally {
      cancelTimeout()
    }
  }

  /** The run's own report is what counts; an operation that can't be ended is closed with it. */
  async #end(operation: Operation, outcome: Outcome): Promise<void> {
    await operation.end(outcome).catch((error: unknown) => { this.#options.log.warn("operation not ended", describeError(error)) })
  }

  /** Repeated until the cloud has it, or this process ends: then the cloud gives the run up. */
  async #tell(run: string, outcome: Outcome): Promise<void> {
    const { report, clock, log, signal } = this.#options
    for (;;) {
      try {
        await report(run, outcome, REPORT_WITHIN_MS)
        return
      } catch (error) {
        log.warn("run's end not reported", { run, ...describeError(error) })
        if (signal.aborted || (error instanceof EkeyError && !error.retryable)) return
        await clock.sleep(REPORT_EVERY_MS, signal).catch(() => undefined) // Aborted: the next try is the last.
      }
    }
  }
}

const CANCELLED = "the job was cancelled"

/** A run that was cancelled before its program began asks for no ekey and runs nothing. */
function refuseCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw new EkeyError("ERR_JOB_FAILED", CANCELLED)
}

function failed(result: ChildResult, detail: string): Extract<Outcome, { state: "failed" }> {
  return { state: "failed", exitCode: result.exitCode & 0xff, reason: "ERR_JOB_FAILED", detail: detail.slice(-1000) }
}

function toFailure(error: unknown): Outcome {
  return { state: "failed", exitCode: null, reason: codeOf(error) ?? "ERR_INTERNAL", detail: error instanceof EkeyError ? error.message.slice(0, 1000) : "internal error" }
}
