import { Command, InvalidArgumentError, Option } from "commander"
import { systemClock } from "../../base/clock.ts"
import { codeOf, EkeyError } from "../../base/errors.ts"
import { runChild } from "../../worker/child-process.ts"
import { DEFAULT_HANDOFF, EkeyHandoff, withEkeyHandoff } from "../../worker/ekey-handoff.ts"
import { setFailureExitCode } from "../cli.ts"
import { withAskOptions, withEkey } from "./ask.ts"
import type { AskFlags } from "./ask.ts"

const EXIT_NO_EKEY = 125
const EXIT_NOT_STARTED = 127

interface ExecFlags extends AskFlags { handoff: EkeyHandoff }

export function execCommand(): Command {
  return withAskOptions(new Command("exec"))
    .description("run a program with one user's ekey: one ekey for one operation, never on a command line")
    .argument("<program...>", "the program and its arguments, after --")
    .addOption(new Option("--handoff <way>", "fd: at /dev/fd/3; env:NAME: in a variable, which the same OS user can read; command:NAME: in a variable, a command that prints it")
      .argParser(parseHandoff).default(DEFAULT_HANDOFF, "fd"))
    .addHelpText("after", `
Examples:
  $ ekey-worker exec --user user-1@acme.example --workflow backup.scheduled -- \\
      restic -r /srv/backup/user-1 --password-file /dev/fd/3 backup /home/user-1
  $ ekey-worker exec --user user-1@acme.example --workflow restore.admin.copy --handoff command:RESTIC_PASSWORD_COMMAND -- \\
      restic -r /srv/backup/user-1 restore latest --target /tmp/back

The ekey is given as base64url text. Exit code: the program's own; 128 + n if signal n ended it. As env(1) has it,
125 if no ekey was had and nothing was run, 127 if the program can't be started; 2 wrong command line, 78 wrong configuration.`)
    .passThroughOptions()
    .action(exec)
}

function parseHandoff(text: string): EkeyHandoff {
  const [way, name] = text.split(":", 2)
  const via = way === "env" ? "environment" : way === "command" ? "password-command" : way
  const parsed = EkeyHandoff.safeParse(name === undefined ? { via } : { via, name })
  if (!parsed.success) throw new InvalidArgumentError("It must be fd, env:NAME or command:NAME.")
  return parsed.data
}

async function exec([program, ...args]: string[], flags: ExecFlags): Promise<void> {
  const stop = new AbortController()
  const onSignal = (): void => { stop.abort() }
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal)
  // Until the program has run, a failure is this command's own.
  setFailureExitCode(EXIT_NO_EKEY)
  try {
    await withEkey(flags, (ekey) => ekey.consume(async (bytes) => {
      const { exitCode } = await withEkeyHandoff(flags.handoff, bytes, ({ env, extraStdio }) => runChild({
        program: program ?? "", args, env: { ...inherited(), ...env }, stdio: "inherit", extraStdio, signal: stop.signal, clock: systemClock,
      })).catch((error: unknown) => {
        if (codeOf(error) !== "ERR_JOB") throw error
        setFailureExitCode(EXIT_NOT_STARTED)
        throw new EkeyError("ERR_FILE", `${program ?? ""} could not be started`, { cause: error instanceof Error ? error.cause : error })
      })
      process.exitCode = exitCode
      return exitCode === 0
        ? { state: "succeeded", exitCode, statistics: {} }
        : { state: "failed", exitCode: exitCode & 0xff, reason: "ERR_JOB_FAILED", detail: `exit code ${String(exitCode)}` }
    }))
  } finally {
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal)
  }
}

/** `exec` wraps a command that the admin typed: it gets the admin's whole environment. */
function inherited(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined))
}
