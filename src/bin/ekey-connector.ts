#!/usr/bin/env node
import { access } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Command, Option } from "commander"
import { systemClock, systemRandom } from "../base/clock.ts"
import { makePrivateFolder } from "../base/files.ts"
import { ConnectorConfig } from "../connector/config.ts"
import { startConnector } from "../connector/connector.ts"
import { createPolicy } from "../connector/policy.ts"
import { FileRootKeySource } from "../connector/root-key/file.ts"
import { openRootKey } from "../connector/root-key/root-key-source.ts"
import { openVault } from "../connector/store/vault.ts"
import { RecordSealer } from "../crypto/sealed-record.ts"
import { GatewayUrl } from "../wire/config.ts"
import { OwnIdentity } from "../wire/identity/own-identity.ts"
import { parseGatewayUrl } from "../wire/link/tls.ts"
import { runCli } from "./cli.ts"
import { loadConfig } from "./config-file.ts"
import { runDaemon } from "./daemon.ts"
import { enroll, identityFolder, loadIdentity } from "./enroll.ts"
import type { EnrollFlags } from "./enroll.ts"
import { lockFolder } from "./folder-lock.ts"
import { createLog } from "./log.ts"
import { parseAs } from "./options.ts"
import { VERSION } from "./version.ts"

const DEFAULT_CONFIG = "/etc/ekey-connector/connector.yaml"
const DEFAULT_DATA = "/var/lib/ekey-connector"

const EXIT_CODES = "Exit codes: 0 done or stopped by a signal, 1 failed, 2 wrong command line, 78 wrong configuration or missing root key."

const program = new Command("ekey-connector")
  .description("Holds the ekeys of a tenant's users on the customer's premises and releases them to backup operations")
  .version(VERSION)
  .showHelpAfterError("(add --help for the options and examples)")
  .addHelpText("after", `
Examples:
  $ ekey-connector enroll --token-file hq-1.token --url wss://gateway.example.com:7400
  $ ekey-connector run --config /etc/ekey-connector/connector.yaml

${EXIT_CODES}`)

program.command("enroll")
  .description("use an enrolment token: make a key, which never leaves this machine, and get its certificate")
  .requiredOption("--token-file <file>", "the token's file, or - for stdin; never the token itself")
  .addOption(new Option("--url <url>", "the gateway, wss://host[:port]").argParser(parseAs(GatewayUrl)).makeOptionMandatory())
  .option("--data <dir>", "data folder, as in the config", DEFAULT_DATA)
  .option("--pins-file <file>", "the published pins: refuse a token that pins others")
  .option("--json", "print one JSON object")
  .addHelpText("after", `
Examples:
  $ ekey-connector enroll --token-file hq-1.token --url wss://gateway.example.com:7400 --pins-file pins.txt
  $ ssh vendor make-token | ekey-connector enroll --token-file - --url wss://gateway.example.com:7400 --data ./connector

${EXIT_CODES}`)
  .action((flags: EnrollFlags) => enroll("connector", { ...flags, data: resolve(flags.data) }))

program.command("run")
  .description("run the connector")
  .option("--config <file>", "its config", DEFAULT_CONFIG)
  .addHelpText("after", `
Example:
  $ ekey-connector run --config ./connector.yaml

${EXIT_CODES}`)
  .action(run)

await runCli(program)

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false)
}

async function run(flags: { config: string }): Promise<void> {
  const { config, path } = await loadConfig(resolve(flags.config), ConnectorConfig)
  const log = createLog({ level: config.log.level, stream: "stdout", name: "ekey-connector" })
  const data = path(config.data)
  await runDaemon(log, async (lifecycle) => {
    const own = new OwnIdentity(await loadIdentity(data, "ekey-connector"))
    await lockFolder(data, lifecycle)
    const tenant = own.current().identity.tenant ?? ""
    const vault = join(data, "vault")
    await makePrivateFolder(vault)
    const store = await openVault({ folder: vault, tenant })
    lifecycle.add("store", () => store.close())
    const rootKeyFile = path(config.rootKey.file)
    const isEmpty = await store.count() === 0
    if (isEmpty && await isThere(rootKeyFile)) {
      log.warn("vault is empty beside an existing root key", { vault, mend: "expected before the first user; otherwise the vault is lost or not mounted: stop, and bring it back" })
    }
    const rootKey = await openRootKey(new FileRootKeySource(rootKeyFile), isEmpty)
    const sealer = await rootKey.consume((bytes) => new RecordSealer({ rootKey: bytes, tenant }))
    await store.bindRootKey(sealer.rootKeyId)
    const policy = createPolicy(config.policy)
    await startConnector({
      address: parseGatewayUrl(config.cloud.url), own, folder: identityFolder(data), store, sealer, policy: () => policy,
      software: VERSION, clock: systemClock, random: systemRandom, log, lifecycle,
    })
    log.info("connector ready", { tenant, name: own.current().identity.name, ekeys: await store.count(), policy: config.policy.workflows })
  })
}
