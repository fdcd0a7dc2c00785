import { resolve } from "node:path"
import type { Command} from "commander";
import { InvalidArgumentError, Option } from "commander"
import { systemClock, systemRandom } from "../../base/clock.ts"
import { Lifecycle } from "../../base/lifecycle.ts"
import type { Logger } from "../../base/logger.ts"
import type { Secret } from "../../base/secret.ts"
import { parseGatewayUrl } from "../../wire/link/tls.ts"
import { OwnIdentity } from "../../wire/identity/own-identity.ts"
import type { Outcome } from "../../wire/messages/operation.ts"
import { UserId } from "../../wire/messages/scalars.ts"
import { Product, Workflow } from "../../wire/messages/workflows.ts"
import { WorkerConfig } from "../../worker/config.ts"
import { connectClient } from "../../worker/worker.ts"
import { loadConfig } from "../config-file.ts"
import { identityFolder, loadIdentity } from "../enroll.ts"
import { createLog } from "../log.ts"
import { parseAs } from "../options.ts"
import { VERSION } from "../version.ts"

export const DEFAULT_CONFIG = "/etc/ekey-worker/worker.yaml"

export interface AskFlags {
  readonly config: string
  readonly user: string
  readonly workflow: Workflow
  readonly product: Product
  readonly reason: string
  readonly timeout: number
}

/** Adds the options of commands that ask for one user's ekey. */
export function withAskOptions(command: Command): Command {
  return command
    .option("--config <file>", "the worker's config", DEFAULT_CONFIG)
    .addOption(new Option("--user <user>", "whose ekey").argParser(parseAs(UserId)).makeOptionMandatory())
    .addOption(new Option("--workflow <workflow>", "what for").choices(Workflow.options).makeOptionMandatory())
    .addOption(new Option("--product <product>", "of which product").choices(Product.options).default("microsoft-365"))
    .option("--reason <text>", "why; the connector records it as the worker's claim", "")
    .option("--timeout <seconds>", "wait for the ekey at most so long", parseSeconds, 30)
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (!(seconds >= 1 && seconds <= 60)) throw new InvalidArgumentError("It must be from 1 to 60.")
  return seconds
}

/**
 * One operation for one ekey: connects, begins, lends the ekey to `use`, and ends the operation with
 * the outcome that `use` gives. Logs go to stderr: stdout is the caller's.
 */
export async function withEkey(flags: AskFlags, use: (ekey: Secret, config: WorkerConfig, log: Logger) => Promise<Outcome>): Promise<void> {
  const { config, path } = await loadConfig(resolve(flags.config), WorkerConfig)
  const log = createLog({ level: config.log.level === "info" ? "warn" : config.log.level, stream: "stderr", name: "ekey-worker" })
  const data = path(config.data)
  const lifecycle = new Lifecycle({ clock: systemClock, log, stopDeadlineMs: 5_000 })
  const deadlineMs = flags.timeout * 1000
  try {
    const client = await connectClient({
      address: parseGatewayUrl(config.cloud.url), own: new OwnIdentity(await loadIdentity(data, "ekey-worker")), folder: identityFolder(data),
      software: VERSION, clock: systemClock, random: systemRandom, log, lifecycle,
    })
    const operation = await client.begin({ product: flags.product, workflow: flags.workflow, deadlineMs })
    const { ekey } = await operation.release(flags.user, { reason: flags.reason, deadlineMs })
    await operation.end(await use(ekey, config, log))
  } finally {
    await lifecycle.stop()
  }
}
