/** Fields of an event: small, countable values. Never key material. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined | readonly string[]>>

/** An event name (stable, lower case, no values in it) plus fields. The adapter redacts and formats. */
export interface Logger {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

const ignore = (): void => undefined

/** For library use without a log. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
