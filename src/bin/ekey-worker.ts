#!/usr/bin/env node
import { resolve } from "node:path"
import { Command, Option } from "commander"
import { systemClock, systemRandom } from "../base/clock.ts"
import { GatewayUrl } from "../wire/config.ts"
import { OwnIdentity } from "../wire/identity/own-identity.ts"
import { parseGatewayUrl } from "../wire/link/tls.ts"
import { cleanEnvironment } from "../worker/child-environment.ts"
import { WorkerConfig } from "../worker/config.ts"
import { startWorker } from "../worker/worker.ts"
import { runCli } from "./cli.ts"
import { loadConfig } from "./config-file.ts"
import { runDaemon } from "./daemon.ts"
import { enroll, identityFolder, loadIdentity } from "./enroll.ts"
import type { EnrollFlags } from "./enroll.ts"
import { lockFolder } from "./folder-lock.ts"
import { createLog } from "./log.ts"
import { parseAs } from "./options.ts"
import { VERSION } from "./version.ts"
import { DEFAULT_CONFIG } from "./worker/ask.ts"
import { execCommand } from "./worker/exec.ts"
import { getCommand } from "./worker/get.ts"

const DEFAULT_DATA = "/var/lib/ekey-worker"
const EXIT_CODES = "Exit codes: 0 done or stopped by a signal, 1 failed, 2 wrong command line, 78 wrong configuration."

const program = new Command("ekey-worker")
  .description("Runs backups, restores and other jobs with the ekeys of their users")
  .version(VERSION)
  .enablePositionalOptions()
  .showHelpAfterError("(add --help for the options and examples)")
  .addHelpText("after", `
Examples:
  $ ekey-worker enroll --token-file backup-1.token --url wss://gateway.example.com:7400
  $ ekey-worker run --config /etc/ekey-worker/worker.yaml
  $ ekey-worker exec --user user-1@acme.example --workflow backup.manual -- restic -r /srv/backup --password-file /dev/fd/3 backup /home

${EXIT_CODES}`)

program.command("enroll")
  .description("use an enrolment token: make a key, which never leaves this machine, and get its certificate")
  .requiredOption("--token-file <file>", "the token's file, or - for stdin; never the token itself")
  .addOption(new Option("--url <url>", "the gateway, wss://host[:port]").argParser(parseAs(GatewayUrl)).makeOptionMandatory())
  .option("--data <dir>", "data folder, as in the config", DEFAULT_DATA)
  .option("--pins-file <file>", "the published pins: refuse a token that pins others")
  .option("--json", "print one JSON object")
  .addHelpText("after", `
Example:
  $ ekey-worker enroll --token-file backup-1.token --url wss://gateway.example.com:7400 --data ./worker

${EXIT_CODES}`)
  .action((flags: EnrollFlags) => enroll("worker", { ...flags, data: resolve(flags.data) }))

program.command("run")
  .description("run the jobs that the cloud's scheduler names, as this worker's config defines them")
  .option("--config <file>", "its config", DEFAULT_CONFIG)
  .addHelpText("after", `
Example:
  $ ekey-worker run --config ./worker.yaml

${EXIT_CODES}`)
  .action(run)
program.addCommand(execCommand())
program.addCommand(getCommand())

await runCli(program)

async function run(flags: { config: string }): Promise<void> {
  const { config, path } = await loadConfig(resolve(flags.config), WorkerConfig)
  const log = createLog({ level: config.log.level, stream: "stdout", name: "ekey-worker" })
  const data = path(config.data)
  await runDaemon(log, async (lifecycle) => {
    const own = new OwnIdentity(await loadIdentity(data, "ekey-worker"))
    await lockFolder(data, lifecycle)
    await startWorker({
      address: parseGatewayUrl(config.cloud.url), own, folder: identityFolder(data), jobs: config.jobs,
      environment: cleanEnvironment(process.env, config.environment),
      software: VERSION, clock: systemClock, random: systemRandom, log, lifecycle,
    })
    log.info("worker ready", { tenant: own.current().identity.tenant, name: own.current().identity.name, jobs: Object.keys(config.jobs) })
  })
}
