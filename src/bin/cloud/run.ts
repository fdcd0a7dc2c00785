import { readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Command } from "commander"
import { systemClock, systemRandom } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { makePrivateFolder } from "../../base/files.ts"
import { createAdminHandlers } from "../../cloud/admin/handlers.ts"
import { ADMIN_METHODS } from "../../cloud/admin/methods.ts"
import { Authorities } from "../../cloud/authorities.ts"
import { GatewayConfig } from "../../cloud/config.ts"
import { nodeCron } from "../../cloud/cron.ts"
import { startGateway } from "../../cloud/gateway.ts"
import { openDatabase } from "../../cloud/storage/database.ts"
import { IdentityFolder } from "../../wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../../wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../wire/identity/own-identity.ts"
import { parseToken } from "../../wire/identity/token.ts"
import { enrolWith } from "../../wire/link/enrolment.ts"
import { serveLocal } from "../../wire/rpc/local-socket.ts"
import { loadConfig } from "../config-file.ts"
import { runDaemon } from "../daemon.ts"
import { lockFolder } from "../folder-lock.ts"
import { createLog } from "../log.ts"

export const DEFAULT_CONFIG = "/etc/ekey-cloud/cloud.yaml"

/** The gateway's admin socket, below its data folder. */
export function adminSocket(dataFolder: string): string {
  return join(dataFolder, "admin.sock")
}

export function runCommand(): Command {
  return new Command("run")
    .description("run the gateway, its storage and its scheduler")
    .option("--config <file>", "the gateway's config", DEFAULT_CONFIG)
    .addHelpText("after", `
Example:
  $ ekey-cloud run --config config/cloud.yaml

Exit codes: 0 stopped by a signal, 1 failed, 2 wrong command line, 78 wrong configuration.`)
    .action(runGateway)
}

async function runGateway(flags: { config: string }): Promise<void> {
  const { config, path } = await loadConfig(resolve(flags.config), GatewayConfig)
  const log = createLog({ level: config.log.level, stream: "stdout", name: "ekey-cloud" })
  const data = path(config.data)
  await makePrivateFolder(data)
  const sockets = { gateway: path(config.authorities.gateway), connector: path(config.authorities.connector), worker: path(config.authorities.worker) }
  const authorities = new Authorities({ sockets, clock: systemClock, log })
  const folder = new IdentityFolder(join(data, "identity"))
  await runDaemon(log, async (lifecycle) => {
    await lockFolder(data, lifecycle)
    lifecycle.add("authorities", () => authorities.close())
    const own = new OwnIdentity(await loadOrEnrol(folder, authorities, config.enrolmentTokenFile === undefined ? undefined : path(config.enrolmentTokenFile)))
    const database = await openDatabase({ file: join(data, "cloud.db"), clock: systemClock })
    lifecycle.add("database", () => database.close())
    const gateway = await startGateway({
      own, folder, host: config.listen.host, port: config.listen.port, database, authorities,
      cron: nodeCron, clock: systemClock, random: systemRandom, log, lifecycle,
    })
    const admin = await serveLocal({ path: adminSocket(data), methods: ADMIN_METHODS, handlers: createAdminHandlers({ gateway, database }), clock: systemClock, log })
    lifecycle.add("admin socket", () => admin.close())
  })
}

/** The gateway has no gateway to enrol through: it asks its authority directly. An expired identity is asked for anew. */
async function loadOrEnrol(folder: IdentityFolder, authorities: Authorities, tokenFile: string | undefined): Promise<LocalIdentity> {
  const known = await folder.load()
  if (known && known.notAfterMs > systemClock.now()) return known
  if (tokenFile === undefined) {
    throw new EkeyError("ERR_CONFIG", `the gateway has no ${known ? "valid " : ""}identity yet: set enrolmentTokenFile to a file made by "ekey-cloud authority token --role gateway --name … --out FILE"`)
  }
  const text = await readFile(tokenFile, "utf8").catch((cause: unknown) => { throw new EkeyError("ERR_CONFIG", `enrolmentTokenFile: ${tokenFile} can't be read`, { cause }) })
  const identity = await enrolWith(await authorities.peer("gateway"), { token: parseToken(text), folder, clock: systemClock })
  await folder.save(identity)
  return identity
}
