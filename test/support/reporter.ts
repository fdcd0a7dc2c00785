import Mocha from "mocha"
import { isCi, skipReason } from "./requirements.ts"

const { EVENT_RUN_END, EVENT_TEST_PASS, EVENT_TEST_FAIL, EVENT_TEST_PENDING } = Mocha.Runner.constants

interface Skipped {
  readonly title: string
  readonly reason: string
}

/**
 * Mocha's spec reporter, followed by the skipped tests with their reasons and, as the last line,
 * `N passed, N failed, N skipped`. A hook that fails counts as failed, with the number of tests that
 * it kept from running above that line. In CI a test that is skipped without a recorded reason
 * (`it.skip`, a bare `this.skip()`, a test without a body) counts as failed.
 */
class CountingReporter extends Mocha.reporters.Spec {
  readonly #skipped: Skipped[] = []
  readonly #unexplained: string[] = []
  #passed = 0
  #failed = 0
  #failedTests = 0

  constructor(runner: Mocha.Runner, options?: Mocha.MochaOptions) {
    super(runner, options)
    runner.on(EVENT_TEST_PASS, () => { this.#passed++ })
    runner.on(EVENT_TEST_FAIL, (failed: Mocha.Runnable) => {
      this.#failed++
      if ("type" in failed && failed.type === "test") this.#failedTests++
    })
    runner.on(EVENT_TEST_PENDING, (test) => { this.#skip(test) })
    // Registered after the spec reporter's own listener, so this prints after its list of failures.
    runner.once(EVENT_RUN_END, () => { this.#summarise() })
  }

  /** Mocha's exit code is the number given to `finish`. */
  override done(failures: number, finish?: (failures: number) => void): void {
    finish?.(failures + this.#unexplained.length)
  }

  #skip(test: Mocha.Test): void {
    const title = test.titlePath().join(" > ")
    const reason = skipReason(test)
    if (reason === null && isCi()) this.#unexplained.push(title)
    else this.#skipped.push({ title, reason: reason ?? "no reason given" })
  }

  #summarise(): void {
    const print = Mocha.reporters.Base.consoleLog
    if (this.#skipped.length > 0) {
      print("Skipped:")
      for (const { title, reason } of this.#skipped) print("  %s\n    %s", title, reason)
      print()
    }
    if (this.#unexplained.length > 0) {
      print("Skipped without a reason, which CI counts as failed:")
      for (const title of this.#unexplained) print("  %s", title)
      print()
    }
    const ended = this.#passed + this.#failedTests + this.#skipped.length + this.#unexplained.length
    const notRun = this.runner.total - ended
    if (notRun > 0) print("%d tests did not run because a hook failed\n", notRun)
    print("%d passed, %d failed, %d skipped", this.#passed, this.#failed + this.#unexplained.length, this.#skipped.length)
  }
}

// Mocha loads reporters with `require`, which returns this export as the module itself.
export { CountingReporter as "module.exports" }
