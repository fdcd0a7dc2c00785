import { systemClock } from "../base/clock.ts"
import { describeError } from "../base/errors.ts"
import { Lifecycle } from "../base/lifecycle.ts"
import type { Logger } from "../base/logger.ts"

/** Set in a daemon's environment by whoever holds a pipe to its stdin: the pipe's end stops the daemon. */
export const STOP_WITH_PARENT = "EKEY_STOP_WITH_PARENT"

/** How long each part may take to stop. */
const STOP_WITHIN_MS = 30_000

/**
 * Runs a daemon until SIGTERM or SIGINT: `start` registers its parts with the lifecycle, which stops
 * them in reverse. A second signal ends the process at once. Rejects as `start` does, after what
 * had started was stopped.
 */
export async function runDaemon(log: Logger, start: (lifecycle: Lifecycle) => Promise<void>): Promise<void> {
  const lifecycle = new Lifecycle({ clock: systemClock, log, stopDeadlineMs: STOP_WITHIN_MS })
  const { promise: asked, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let signals = 0
  const onSignal = (signal: NodeJS.Signals): void => {
    signals += 1
    if (signals > 1) process.exit(130)
    resolve(signal)
  }
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal)
  process.on("uncaughtException", (error) => {
    log.error("defect", { ...describeError(error), stack: error.stack?.split("\n").slice(1, 4).join(" ") })
    process.exit(70)
  })
  if (process.env[STOP_WITH_PARENT] === "1") process.stdin.resume().once("end", () => { onSignal("SIGTERM") })
  try {
    await start(lifecycle)
    log.info("stopping", { signal: await asked })
  } finally {
    await lifecycle.stop()
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal)
    process.stdin.pause()
  }
  log.info("stopped")
}
