import { join } from "node:path"
import { systemClock } from "../base/clock.ts"
import { codeOf, EkeyError } from "../base/errors.ts"
import type { Lifecycle } from "../base/lifecycle.ts"
import { silentLogger } from "../base/logger.ts"
import { serveLocal } from "../wire/rpc/local-socket.ts"

/**
 * Keeps a data folder to one process: two with one identity would take each other's place for ever.
 * A local socket in it is the lock, which ends with its process, however that ends.
 * @throws EkeyError ERR_CONFIG when another process has it.
 */
export async function lockFolder(data: string, lifecycle: Lifecycle): Promise<void> {
  try {
    const lock = await serveLocal({ path: join(data, "lock.sock"), methods: {}, handlers: {}, clock: systemClock, log: silentLogger })
    lifecycle.add("folder lock", () => lock.close())
  } catch (cause) {
    if (codeOf(cause) !== "ERR_FILE") throw cause
    throw new EkeyError("ERR_CONFIG", `another process uses the data folder ${data}, or it can't be written: stop the other one, or name another folder in "data"`, { cause })
  }
}
