import { Command } from "commander"
import { printNotice, runCli } from "../src/bin/cli.ts"
import { releaseCommand } from "./release/command.ts"

const program = new Command("bench")
  .description("Side-by-side benchmarks; each measures what it compares with in the same run")
  .showHelpAfterError("(add --help for the options and examples)")
  .addHelpText("after", `
Examples:
  $ npm run bench -- release
  $ npm run bench -- release --quick --json

What each one measures, and how fairly: bench/README.md.
Exit codes: 0 measured, 1 failed, 2 wrong command line, 130 interrupted.`)
program.addCommand(releaseCommand((line) => { printNotice(line) }))

await runCli(program)
