import { EkeyError } from "../../src/base/errors.ts"
import type { Cron } from "../../src/cloud/cron.ts"

/** A cron whose times come when a test says so. Every expression but "wrong" is in order. */
export class FakeCron implements Cron {
  readonly #armed = new Map<symbol, { expression: string; tick: () => void }>()

  check(expression: string): void {
    if (expression === "wrong") throw new EkeyError("ERR_SCHEDULE", "the cron expression is wrong: minute: no")
  }

  start(expression: string, tick: () => void): () => void {
    const key = Symbol(expression)
    this.#armed.set(key, { expression, tick })
    return () => { this.#armed.delete(key) }
  }

  get armed(): readonly string[] {
    return [...this.#armed.values()].map(({ expression }) => expression)
  }

  /** The time of one expression has come. */
  fire(expression: string): void {
    for (const armed of [...this.#armed.values()]) if (armed.expression === expression) armed.tick()
  }
}
