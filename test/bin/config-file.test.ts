import assert from "node:assert/strict"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { z } from "zod"
import { EkeyError } from "../../src/base/errors.ts"
import { loadConfig } from "../../src/bin/config-file.ts"
import { GatewayConfig } from "../../src/cloud/config.ts"
import { ConnectorConfig } from "../../src/connector/config.ts"
import { WorkerConfig } from "../../src/worker/config.ts"

const CLOUD = 'cloud: {url: "wss://gateway.example.com:7400"}\n'
const CONNECTOR = `${CLOUD}data: data\nrootKey: {source: file, file: root.key}\npolicy: {workflows: [backup.*]}\n`

describe("A config file", () => {
  let folder: string
  let file: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ekey-config-"))
    file = join(folder, "config.yaml")
  })
  afterEach(async () => { await rm(folder, { recursive: true }) })

  async function load<S extends z.ZodType>(text: string, schema: S) {
    await writeFile(file, text)
    return await loadConfig(file, schema)
  }

  /** The problems that are listed, one a line, without the first line that names file and number. */
  async function problems(text: string, schema: z.ZodType): Promise<string[]> {
    try {
      await load(text, schema)
    } catch (error) {
      assert.ok(error instanceof EkeyError)
      assert.equal(error.code, "ERR_CONFIG")
      const [first, ...lines] = error.message.split("\n")
      assert.equal(first, `${file}: ${String(lines.length)} ${lines.length === 1 ? "problem" : "problems"}`)
      assert.ok(lines.every((line) => line.startsWith("  ")))
      return lines.map((line) => line.trim())
    }
    assert.fail("it was taken")
  }

  it("is read with its defaults filled in", async () => {
    const { config } = await load(CONNECTOR, ConnectorConfig)
    assert.equal(config.log.level, "info")
    assert.deepEqual(config.policy.workflows, ["backup.*"])
    assert.deepEqual((await load("data: d\nauthorities: {gateway: g, connector: c, worker: w}\n", GatewayConfig)).config.listen, { host: "127.0.0.1", port: 7400 })
  })

  it("has paths that are relative to it", async () => {
    const { path } = await load(CONNECTOR, ConnectorConfig)
    assert.equal(path("data"), join(folder, "data"))
    assert.equal(path("../x"), join(folder, "..", "x"))
    assert.equal(path("/srv/x"), "/srv/x")
  })

  it("is refused with every problem at once: line, setting and what is to be done", async () => {
    const text = [
      'cloud: {url: "https://secret-user:secret-password@gateway.example.com"}',
      "data: 7",
      "rootKey:",
      "  source: secret-source",
      "  file: root.key",
      "polcy: {workflows: []}",
      "log:",
      "  levle: debug",
      "",
    ].join("\n")
    const found = await problems(text, ConnectorConfig)
    assert.deepEqual(found.sort(), [
      "line 1: cloud.url: must be a wss:// URL without path or credentials, for example wss://gateway.example.com:7400",
      "line 2: data: must be string",
      'line 4: rootKey.source: must be "file"',
      'line 6: polcy: unknown setting (did you mean "policy"?)',
      'line 8: log.levle: unknown setting (did you mean "level"?)',
      "policy: is required",
    ])
    assert.ok(!found.join().includes("secret"))
  })

  const rows: readonly [string, string, z.ZodType, string][] = [
    ["nothing like it is known", `${CONNECTOR}zzzzzzzz: 1\n`, ConnectorConfig, "line 5: zzzzzzzz: unknown setting"],
    ["a letter too many", `${CLOUD}data: d\njobz: {}\n`, WorkerConfig, 'line 3: jobz: unknown setting (did you mean "jobs"?)'],
    ["capitals", `${CLOUD}Data: d\ndata: d\n`, WorkerConfig, 'line 2: Data: unknown setting (did you mean "data"?)'],
    ["a __proto__", `${CLOUD}data: d\n__proto__: {polluted: 1}\n`, WorkerConfig, "line 3: __proto__: unknown setting"],
    ["a job named __proto__", `${CLOUD}data: d\njobs:\n  __proto__: {program: /bin/rm, repository: /}\n`, WorkerConfig, "line 4: jobs.__proto__: unknown setting"],
    ["a job that names no absolute path", `${CLOUD}data: d\njobs:\n  a:\n    program: restic\n    repository: /r\n`, WorkerConfig, "line 5: jobs.a.program: must be an absolute path"],
    ["a job's unknown setting", `${CLOUD}data: d\njobs:\n  a:\n    program: /r\n    repository: /r\n    arg: []\n`, WorkerConfig, 'line 7: jobs.a.arg: unknown setting (did you mean "args"?)'],
    ["an unknown name in an argument", `${CLOUD}data: d\njobs:\n  a:\n    program: /r\n    repository: /r\n    args:\n      - x\n      - "{nope}"\n`, WorkerConfig, "line 7: jobs.a.args.1: has {nope}, which is not known here (known: {repository}, {user})"],
    ["a workflow that nothing matches", CONNECTOR.replace("backup.*", "backups.*"), ConnectorConfig, "line 4: policy.workflows.0: matches no workflow that is known"],
    ["a port beyond any", "listen: {port: 70000}\ndata: d\nauthorities: {gateway: g, connector: c, worker: w}\n", GatewayConfig, "line 1: listen.port: Too big: expected number to be <=65535"],
    ["a setting twice", `${CLOUD}data: d\ndata: e\n`, WorkerConfig, "line 3: not valid YAML (DUPLICATE_KEY)"],
    ["a tab", `${CLOUD}\tdata: d\n`, WorkerConfig, "line 2: not valid YAML (TAB_AS_INDENT)"],
    ["two documents", `${CLOUD}data: d\n---\ndata: e\n`, WorkerConfig, "line 3: not valid YAML (MULTIPLE_DOCS)"],
    ["a list instead", "- a\n", WorkerConfig, "the file: must be object"],
    ["a text instead", "hello", WorkerConfig, "the file: must be object"],
    ["an alias to nothing", "cloud: *x\n", WorkerConfig, "not valid YAML (ALIAS): write the settings out"],
    ["aliases without end", `a: &a [${"x,".repeat(9)}]\n${["b", "c", "d", "e"].map((name, index) => `${name}: &${name} [${`*${"abcd"[index] ?? ""},`.repeat(9)}]\n`).join("")}`, WorkerConfig, "not valid YAML (ALIAS): write the settings out"],
  ]
  for (const [name, text, schema, problem] of rows) {
    it(`is refused, and says what and where: ${name}`, async () => {
      assert.deepEqual(await problems(text, schema), [problem])
      assert.equal("polluted" in {}, false)
    })
  }

  it("that is empty lacks what is required", async () => {
    assert.deepEqual(await problems("", WorkerConfig), ["cloud: is required", "data: is required"])
  })

  it("can't be missing, a folder, or larger than any config: the message says which file", async () => {
    await assert.rejects(loadConfig(file, WorkerConfig), { code: "ERR_CONFIG", message: new RegExp(file) })
    await mkdir(file)
    await assert.rejects(loadConfig(file, WorkerConfig), { code: "ERR_CONFIG", message: new RegExp(file) })
    await rm(file, { recursive: true })
    await assert.rejects(load(`#${"x".repeat(1024 * 1024)}`, WorkerConfig), { code: "ERR_CONFIG", message: /larger/ })
  })
})
