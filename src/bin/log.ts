import { createLogger, format, transports } from "winston"
import { systemClock } from "../base/clock.ts"
import type { LogLevel } from "../base/log-level.ts"
import type { LogFields, Logger } from "../base/logger.ts"

const line = format.printf(({ level, message, ...fields }) => JSON.stringify({ time: new Date(systemClock.now()).toISOString(), level, event: message, ...fields }))

/**
 * Logs as JSON lines: time, level, event, then the event's fields. Levels below `level` cost a call
 * of an empty function. Programs whose stdout is somebody else's log to stderr.
 */
export function createLog(options: { level: LogLevel; stream: "stdout" | "stderr"; name: string }): Logger {
  const levels = { error: 0, warn: 1, info: 2, debug: 3 }
  const winston = createLogger({
    levels,
    level: options.level,
    defaultMeta: { program: options.name, pid: process.pid },
    format: line,
    // winston's types hide that its transports are streams.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    transports: [new transports.Stream({ stream: options.stream === "stderr" ? process.stderr : process.stdout })],
  })
  const at = (level: LogLevel) => winston.isLevelEnabled(level)
    ? (event: string, fields?: LogFields): void => { winston.log(level, event, fields) }
    : (): void => undefined
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }
}
