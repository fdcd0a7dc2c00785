#!/usr/bin/env node
import { Command } from "commander"
import { runCli } from "./cli.ts"
import { adminCommands } from "./cloud/admin.ts"
import { authorityCommand } from "./cloud/authority.ts"
import { runCommand } from "./cloud/run.ts"
import { VERSION } from "./version.ts"

const program = new Command("ekey-cloud")
  .description("The cloud side: the gateway that connectors and workers dial, its scheduler, and the authorities")
  .version(VERSION)
  .showHelpAfterError("(add --help for the options and examples)")
  .addHelpText("after", `
Examples:
  $ ekey-cloud authority run --data ./authority
  $ ekey-cloud authority token --data ./authority --role connector --tenant acme --name hq-1 --out hq-1.token
  $ ekey-cloud run --config config/cloud.yaml
  $ ekey-cloud user add --tenant acme --user user-1@acme.example

Exit codes: 0 done, 1 failed, 2 wrong command line, 78 wrong configuration.`)
program.addCommand(authorityCommand())
program.addCommand(runCommand())
for (const command of adminCommands()) program.addCommand(command)

await runCli(program)
