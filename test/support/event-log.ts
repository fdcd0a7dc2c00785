import type { LogFields, Logger } from "../../src/base/logger.ts"

export interface LoggedEvent {
  readonly level: "debug" | "info" | "warn" | "error"
  readonly event: string
  readonly fields: LogFields
}

interface Waiter {
  readonly matches: (logged: LoggedEvent) => boolean
  readonly resolve: (logged: LoggedEvent) => void
}

/** A log that keeps what it is told, and tells who waits for an event. */
export class EventLog implements Logger {
  readonly events: LoggedEvent[] = []
  readonly #waiters = new Set<Waiter>()

  debug(event: string, fields?: LogFields): void { this.#record("debug", event, fields) }
  info(event: string, fields?: LogFields): void { this.#record("info", event, fields) }
  warn(event: string, fields?: LogFields): void { this.#record("warn", event, fields) }
  error(event: string, fields?: LogFields): void { this.#record("error", event, fields) }

  /** The events of that name so far. */
  of(event: string): readonly LoggedEvent[] {
    return this.events.filter((logged) => logged.event === event)
  }

  /** One field of each event of that name so far. */
  fieldOf(event: string, field: string): readonly LogFields[string][] {
    return this.of(event).map(({ fields }) => fields[field])
  }

  /** The next event of that name whose fields include `fields`; what was logged before does not count. */
  next(event: string, fields: LogFields = {}): Promise<LoggedEvent> {
    return new Promise((resolve) => {
      const matches = (logged: LoggedEvent): boolean => logged.event === event && includes(logged, fields)
      this.#waiters.add({ matches, resolve })
    })
  }

  /** The first event of that name whose fields include `fields`, already logged or still to come. */
  async first(event: string, fields: LogFields = {}): Promise<LoggedEvent> {
    return this.of(event).find((logged) => includes(logged, fields)) ?? await this.next(event, fields)
  }

  #record(level: LoggedEvent["level"], event: string, fields: LogFields = {}): void {
    const logged = { level, event, fields }
    this.events.push(logged)
    for (const waiter of [...this.#waiters]) {
      if (!waiter.matches(logged)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(logged)
    }
  }
}

function includes(logged: LoggedEvent, fields: LogFields): boolean {
  return Object.entries(fields).every(([name, value]) => logged.fields[name] === value)
}
