#!/usr/bin/env node
import { constants } from "node:os"
import { Command } from "commander"
import { systemClock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { readPrivateFile } from "../base/files.ts"
import type { PackSummary } from "../worker/archive/pack.ts"
import { LATEST, backup, listArchives, restore } from "../worker/archive/repository.ts"
import { checkEkeyText } from "../worker/ekey-text.ts"
import { printLine, printNotice, runCli } from "./cli.ts"

/** The archive is there, but something of the source is not in it as it should be; as restic has it. */
const EXIT_INCOMPLETE = 3

const EXAMPLES = `
Examples:
  $ ekey-archive backup --repository /srv/backup/user-1 --password-file /dev/fd/3 /home/user-1 3< ekey
  $ ekey-archive list --repository /srv/backup/user-1
  $ ekey-archive restore --repository /srv/backup/user-1 --password-file /dev/fd/3 --target /tmp/back 3< ekey
  $ ekey-worker exec --config worker.yaml --user user-1@acme.example --workflow backup.scheduled -- \\
      ekey-archive backup --repository /srv/backup/user-1 --password-file /dev/fd/3 /home/user-1

An archive is a tar in an age file whose passphrase is the ekey's text: "age --decrypt FILE | tar -x" opens it too.
Exit codes: 0 done, 1 failed, 2 wrong command line, 3 something of the source could not be kept, 78 wrong configuration.`

interface BackupFlags { repository: string; passwordFile: string; json?: true }
interface RestoreFlags { repository: string; passwordFile: string; target: string; archive: string; sameOwner: boolean; json?: true }
interface ListFlags { repository: string; json?: true }

const program = new Command("ekey-archive")
  .description("Backs up a folder into encrypted archives and restores it, with nothing but this program")
  .addHelpText("after", EXAMPLES)
  .showHelpAfterError("(add --help for the options and examples)")

program.command("backup")
  .description("archive a folder; what can't be read is named on stderr and makes the exit code 3")
  .argument("<source>", "the folder")
  .requiredOption("--repository <dir>", "folder of archives; made if absent")
  .requiredOption("--password-file <file>", "file that holds the ekey, such as /dev/fd/3; only its owner may read it")
  .option("--json", "print one JSON object with files, bytes and archive as the last line")
  .addHelpText("after", EXAMPLES)
  .action((source: string, flags: BackupFlags) => untilSignal((signal) => runBackup(source, flags, signal)))

program.command("restore")
  .description("bring an archive's content back, all of it or nothing")
  .requiredOption("--repository <dir>", "folder of archives")
  .requiredOption("--password-file <file>", "file that holds the ekey, such as /dev/fd/3; only its owner may read it")
  .requiredOption("--target <dir>", "where to; must be absent or empty")
  .option("--archive <name>", "which archive, as list names it", LATEST)
  .option("--no-same-owner", "as root: keep everything instead of giving it to its owner in the archive")
  .option("--json", "print one JSON object with files, bytes and archive as the last line")
  .addHelpText("after", EXAMPLES)
  .action((flags: RestoreFlags) => untilSignal((signal) => runRestore(flags, signal)))

program.command("list")
  .description("name the complete archives, oldest first")
  .requiredOption("--repository <dir>", "folder of archives")
  .option("--json", "print one JSON array of name and bytes")
  .addHelpText("after", EXAMPLES)
  .action(runList)

await runCli(program)

async function runBackup(source: string, flags: BackupFlags, signal: AbortSignal): Promise<void> {
  const summary = await withEkeyText(flags.passwordFile, (ekeyText) =>
    backup({ repository: flags.repository, source, ekeyText, clock: systemClock, signal }))
  reportProblems(summary)
  const { files, bytes, archive, special, problemCount, problems } = summary
  printLine(flags.json
    ? JSON.stringify({ files, bytes, archive, special, problemCount, problems })
    : `${String(files)} files, ${String(bytes)} bytes in ${archive}`)
  if (problemCount > 0) process.exitCode = EXIT_INCOMPLETE
}

function reportProblems({ problems, problemCount, special }: PackSummary): void {
  // Names are quoted as in JSON: they may hold what a terminal obeys.
  for (const { path, reason } of problems) printNotice(`${reason}: ${JSON.stringify(path)}`)
  if (problemCount > problems.length) printNotice(`and ${String(problemCount - problems.length)} more`)
  if (special > 0) printNotice(`left out: ${String(special)} sockets, pipes or devices`)
}

async function runRestore(flags: RestoreFlags, signal: AbortSignal): Promise<void> {
  const keepOwners = flags.sameOwner && process.getuid?.() === 0
  const { files, bytes, archive } = await withEkeyText(flags.passwordFile, (ekeyText) =>
    restore({ repository: flags.repository, target: flags.target, archive: flags.archive, ekeyText, keepOwners, signal }))
  printLine(flags.json ? JSON.stringify({ files, bytes, archive }) : `${String(files)} files, ${String(bytes)} bytes from ${archive}`)
}

async function runList(flags: ListFlags): Promise<void> {
  const archives = await listArchives(flags.repository)
  if (flags.json) printLine(JSON.stringify(archives))
  else for (const { name, bytes } of archives) printLine(`${name}  ${String(bytes)} bytes`)
}

async function withEkeyText<T>(path: string, use: (ekeyText: Uint8Array) => Promise<T>): Promise<T> {
  const content = await readPrivateFile(path)
  if (!content) throw new EkeyError("ERR_FILE", `there is no password file ${path}`)
  try {
    return await use(checkEkeyText(content))
  } finally {
    content.fill(0)
  }
}

/** Lets SIGINT and SIGTERM end the work cleanly, with the exit code that shells give to such an end. */
async function untilSignal(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const abort = new AbortController()
  let exitCode: number | undefined
  const stop = (name: NodeJS.Signals): void => {
    exitCode ??= 128 + constants.signals[name]
    abort.abort(new Error(`ended by ${name}`))
  }
  process.once("SIGINT", stop).once("SIGTERM", stop)
  try {
    await run(abort.signal)
  } catch (error) {
    if (exitCode === undefined) throw error
    printNotice("ekey-archive: interrupted; nothing was left behind")
    process.exitCode = exitCode
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop)
  }
}
