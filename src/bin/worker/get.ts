import { Command, Option } from "commander"
import { EkeyError } from "../../base/errors.ts"
import { encodeEkeyText } from "../../worker/ekey-text.ts"
import { withAskOptions, withEkey } from "./ask.ts"
import type { AskFlags } from "./ask.ts"

interface GetFlags extends AskFlags { format: "base64url" | "hex" | "raw"; terminal?: true }

export function getCommand(): Command {
  return withAskOptions(new Command("get"))
    .description("print one user's ekey on stdout, for programs that take a password command")
    .addOption(new Option("--format <format>", "how to print it").choices(["base64url", "hex", "raw"]).default("base64url"))
    .option("--terminal", "print it even if stdout is a terminal")
    .addHelpText("after", `
Example:
  $ RESTIC_PASSWORD_COMMAND="ekey-worker get --user user-1@acme.example --workflow backup.scheduled" restic backup /home/user-1

Exit codes: 0 done, 1 failed or refused, 2 wrong command line, 78 wrong configuration.`)
    .action(get)
}

async function get(flags: GetFlags): Promise<void> {
  if (process.stdout.isTTY && !flags.terminal) throw new EkeyError("ERR_USAGE", "stdout is a terminal: pipe it to a program, or add --terminal to show the ekey")
  await withEkey(flags, (ekey) => ekey.consume(async (bytes) => {
    const text = flags.format === "raw" ? Buffer.from(bytes) : flags.format === "hex" ? Buffer.from(`${Buffer.from(bytes).toString("hex")}\n`) : Buffer.concat([encodeEkeyText(bytes), Buffer.from("\n")])
    await new Promise<void>((resolve, reject) => process.stdout.write(text, (error) => { if (error) reject(error); else resolve() }))
    text.fill(0)
    return { state: "succeeded", exitCode: 0, statistics: {} }
  }))
}
