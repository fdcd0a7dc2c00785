import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { once } from "node:events"

const CLI = new URL("../../src/bin/cli.ts", import.meta.url).href
const ERRORS = new URL("../../src/base/errors.ts", import.meta.url).href
const COMMANDER = import.meta.resolve("commander")

describe("A program's command line", function () {
  this.timeout(20_000)
  let folder: string
  before(async () => { folder = await mkdtemp(join(tmpdir(), "ekey-cli-")) })
  after(async () => { await rm(folder, { recursive: true }) })

  /** Runs a program `tool` with one command `do`, whose action is the given code. */
  async function run(action: string, args: readonly string[] = ["do"], closeStdout = false): Promise<{ code: number | null; out: string; err: string }> {
    const file = join(folder, "tool.mjs")
    await writeFile(file, `
      import { Command, InvalidArgumentError } from ${JSON.stringify(COMMANDER)}
      import { printLine, runCli } from ${JSON.stringify(CLI)}
      import { EkeyError } from ${JSON.stringify(ERRORS)}
      const program = new Command("tool")
      program.command("do").requiredOption("--way <way>", "how", (text) => { if (text !== "good") throw new InvalidArgumentError("It must be good."); return text }, "good")
        .addHelpText("after", "Example:").action(async () => { ${action} })
      await runCli(program)
    `)
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", file, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    if (closeStdout) child.stdout.destroy()
    const ended = once(child, "close") as Promise<[number | null]>
    const [out, err] = await Promise.all([closeStdout ? "" : text(child.stdout), text(child.stderr)])
    return { code: (await ended)[0], out, err }
  }

  it("ends with 0 and its results alone on stdout", async () => {
    assert.deepEqual(await run('printLine("result")'), { code: 0, out: "result\n", err: "" })
  })

  it("keeps the exit code that an action sets", async () => {
    assert.equal((await run("process.exitCode = 7")).code, 7)
  })

  // Those whose message says how to mend it need no word more.
  for (const [code, exit, mend] of [
    ["ERR_USAGE", 2, ""], ["ERR_CONFIG", 78, ""], ["ERR_FILE", 1, ""],
    ["ERR_ROOT_KEY", 78, "  mend: .+\n"], ["ERR_DENIED", 1, "  mend: .+\n"], ["ERR_UNREACHABLE", 1, "  mend: .+\n"], ["ERR_CERT_EXPIRED", 1, "  mend: .+\n"],
  ] as const) {
    it(`ends with ${String(exit)} for ${code}, and says on stderr what happened, why, and how to mend it`, async () => {
      const ended = await run(`throw new EkeyError(${JSON.stringify(code)}, "what happened", { cause: new Error("why") })`)
      assert.deepEqual([ended.code, ended.out], [exit, ""])
      assert.match(ended.err, new RegExp(`^tool: what happened \\(${code}\\)\n  cause: why\n${mend}$`))
    })
  }

  it("ends with 1 for a defect, and prints no stack", async () => {
    const ended = await run('throw new TypeError("x is not a function")')
    assert.equal(ended.code, 1)
    assert.match(ended.err, /^tool: x is not a function \(ERR_INTERNAL\)\n {2}mend: /)
    assert.ok(!ended.err.includes("    at "))
  })

  for (const [name, args, words] of [
    ["an unknown command", ["od"], /unknown command 'od'.*Did you mean do\?/s],
    ["an unknown flag", ["do", "--wya", "x"], /unknown option '--wya'.*Did you mean --way\?/s],
    ["a wrong value", ["do", "--way", "bad"], /--way.*'bad'.*It must be good/s],
    ["a flag without its value", ["do", "--way"], /--way.*argument missing/s],
    ["an argument too many", ["do", "x"], /too many arguments/],
    ["no command", [], /Usage: tool/],
  ] as const) {
    it(`ends with 2 for ${name}, and names it`, async () => {
      const ended = await run("", args)
      assert.deepEqual([ended.code, ended.out], [2, ""])
      assert.match(ended.err, words)
    })
  }

  for (const args of [["--help"], ["do", "--help"], ["help", "do"]]) {
    it(`explains itself and ends with 0: ${args.join(" ")}`, async () => {
      const ended = await run("", args)
      assert.deepEqual([ended.code, ended.err], [0, ""])
      assert.match(ended.out, /^Usage: tool/)
    })
  }

  it("ends quietly when whoever reads its results has gone", async () => {
    const ended = await run('for (let line = 0; line < 20000; line++) printLine("result".repeat(20))', ["do"], true)
    assert.deepEqual(ended, { code: 0, out: "", err: "" })
  })
})
