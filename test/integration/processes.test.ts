import assert from "node:assert/strict"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { z } from "zod"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import { connectTls } from "../../src/wire/link/tls.ts"
import { openWebSocket } from "../../src/wire/rpc/websocket.ts"
import { Programs } from "../support/programs.ts"
import type { Daemon, Ended, Program } from "../support/programs.ts"
import { requirePlatform } from "../support/requirements.ts"
import { until } from "../support/until.ts"

const USER = "u@acme.example"
const Runs = z.object({ runs: z.array(z.looseObject({ state: z.string(), reason: z.string().nullable(), exitCode: z.int().nullable(), statistics: z.record(z.string(), z.number()).nullable() })) })

describe("The programs as processes", function () {
  this.timeout(60_000)
  let folder: string
  let programs: Programs
  let authorities: Daemon
  let gateway: Daemon
  let connector: Daemon
  let worker: Daemon
  let port: number

  const run = (program: Program, ...args: string[]): Promise<Ended> => programs.run(program, args)
  const admin = (...args: string[]): Promise<Ended> => run("ekey-cloud", ...args, "--tenant", "acme", "--config", "cloud.yaml")
  const ask = (command: "exec" | "get", ...args: string[]): Promise<Ended> => run("ekey-worker", command, "--config", "worker.yaml", "--user", USER, "--workflow", "backup.manual", ...args)
  const token = async (role: string, name: string): Promise<void> => {
    const tenant = role === "gateway" ? [] : ["--tenant", "acme"]
    succeeded(await run("ekey-cloud", "authority", "token", "--data", "a", "--role", role, ...tenant, "--name", name, "--out", `${name}.token`))
  }
  const url = (): string => `wss://127.0.0.1:${String(port)}`

  function succeeded(ended: Ended): string {
    assert.equal(ended.code, 0, ended.err)
    return ended.out
  }
  function failed(ended: Ended, code: number, words: RegExp): void {
    assert.equal(ended.code, code, ended.err + ended.out)
    assert.match(ended.err, words)
    assert.ok(!ended.err.includes("    at "), "no stack")
  }

  before(async function () {
    requirePlatform(this, ["linux"], "processes that get an ekey at a descriptor, and signals")
    folder = await mkdtemp(join(tmpdir(), "ekey-"))
    programs = new Programs(folder)
    const write = (name: string, lines: readonly string[]): Promise<void> => writeFile(join(folder, name), `${lines.join("\n")}\n`)
    authorities = programs.start("ekey-cloud", ["authority", "run", "--data", "a"])
    await until("three authorities", () => authorities.lines.filter(({ event }) => event === "authority ready").length === 3, 30_000)
    await write("cloud.yaml", [
      "listen: {port: 0}", "data: cloud", "enrolmentTokenFile: gw-1.token",
      "authorities: {gateway: a/sockets/gateway.sock, connector: a/sockets/connector.sock, worker: a/sockets/worker.sock}",
    ])
    await Promise.all([
      token("gateway", "gw-1"), token("connector", "hq-1"), token("worker", "w-1"),
      run("ekey-cloud", "authority", "pins", "--data", "a").then((ended) => writeFile(join(folder, "pins.txt"), succeeded(ended))),
    ])
    gateway = programs.start("ekey-cloud", ["run", "--config", "cloud.yaml"])
    port = z.int().parse((await gateway.logged("gateway ready"))["port"])
    await write("connector.yaml", [
      `cloud: {url: "${url()}"}`, "data: connector", "rootKey: {source: file, file: root.key}", "policy: {workflows: [backup.*]}",
    ])
    await write("worker.yaml", [
      `cloud: {url: "${url()}"}`, "data: worker", "jobs:",
      "  quick:", "    program: /bin/sh", `    args: [-c, 'test -s /dev/fd/3 && echo "{{\\"n\\":3}}"']`, "    repository: /srv", "    statistics: {files: n}",
      "  slow:", "    program: /bin/sh", `    args: [-c, 'echo ran >> ${folder}/marker; while [ ! -e ${folder}/go ]; do sleep 0.1; done']`, "    repository: /srv",
    ])
    const [enrolled] = await Promise.all([
      programs.run("ekey-connector", ["enroll", "--token-file", "-", "--url", url(), "--data", "connector", "--pins-file", "pins.txt"], { stdin: await readFile(join(folder, "hq-1.token"), "utf8") }),
      run("ekey-worker", "enroll", "--token-file", "w-1.token", "--url", url(), "--data", "worker").then(succeeded),
    ])
    assert.match(succeeded(enrolled), /^enrolled as spiffe:\/\/ekey\.internal\/tenant\/acme\/connector\/hq-1, certificate until /)
    startConnector()
    startWorker()
    await Promise.all([connector.logged("link ready"), worker.logged("link ready")])
    assert.equal(succeeded(await admin("user", "add", "--user", USER)), `${USER} has ekey version 1, made now\n`)
  })
  after(async () => {
    await programs.close()
    await rm(folder, { recursive: true })
  })

  function startConnector(): void {
    connector = programs.start("ekey-connector", ["run", "--config", "connector.yaml"])
  }
  function startWorker(): void {
    worker = programs.start("ekey-worker", ["run", "--config", "worker.yaml"])
  }

  const lastRun = async (schedule: string): Promise<z.infer<typeof Runs>["runs"][number] | undefined> =>
    Runs.parse(JSON.parse(succeeded(await admin("schedule", "runs", "--schedule", schedule, "--limit", "1", "--json")))).runs[0]
  async function runEnded(schedule: string): Promise<z.infer<typeof Runs>["runs"][number]> {
    return await until(`the end of a run of ${schedule}`, async () => {
      const last = await lastRun(schedule)
      return last && last.state !== "running" && last.state !== "starting" ? last : null
    }, 30_000)
  }

  it("hand one ekey to one child, by descriptor, variable or command, and it is what `get` prints", async () => {
    const [byFd, byVariable, byCommand, got] = await Promise.all([
      ask("exec", "--", "sh", "-c", 'cat /dev/fd/3; test -z "$(tr "\\0" " " < /proc/$PPID/cmdline | grep "$(cat /dev/fd/3)")"'),
      ask("exec", "--handoff", "env:EKEY", "--", "sh", "-c", 'printf %s "$EKEY"'),
      ask("exec", "--handoff", "command:EKEY_COMMAND", "--", "sh", "-c", 'sh -c "$EKEY_COMMAND"'),
      ask("get"),
    ])
    const ekey = succeeded(byFd)
    assert.match(ekey, /^[A-Za-z0-9_-]{43}$/)
    assert.deepEqual([succeeded(byVariable), succeeded(byCommand), succeeded(got)], [ekey, ekey, `${ekey}\n`])
  })

  it("end with the child's own exit code, and 128 + n for a signal", async () => {
    const [seven, killed, missing] = await Promise.all([
      ask("exec", "--", "sh", "-c", "exit 7"), ask("exec", "--", "sh", "-c", "kill -9 $$"), ask("exec", "--", "no-such-program"),
    ])
    assert.deepEqual([seven.code, seven.err, killed.code, killed.err], [7, "", 137, ""])
    failed(missing, 127, /no-such-program could not be started/)
  })

  it("refuse an unknown user and a forbidden workflow with the same words", async () => {
    const [unknown, forbidden] = await Promise.all([
      run("ekey-worker", "get", "--config", "worker.yaml", "--user", "nobody", "--workflow", "backup.manual"),
      run("ekey-worker", "get", "--config", "worker.yaml", "--user", USER, "--workflow", "download.mds"),
    ])
    failed(unknown, 1, /\(ERR_DENIED\)/)
    assert.deepEqual(unknown, forbidden)
    assert.equal(unknown.out, "")
  })

  it("run a job by its schedule, to the second, and keep what came of it", async () => {
    succeeded(await admin("schedule", "add", "--name", "often", "--user", USER, "--job", "quick", "--cron", "* * * * * *"))
    const { state, exitCode, statistics } = await runEnded("often")
    assert.deepEqual([state, exitCode, statistics?.["files"]], ["succeeded", 0, 3])
    succeeded(await admin("schedule", "remove", "--name", "often"))
  })

  it("say what is wrong with an admin's command, and change nothing", async () => {
    const schedule = (...args: string[]): Promise<Ended> => admin("schedule", "add", "--job", "quick", ...args)
    succeeded(await schedule("--name", "yearly", "--user", USER, "--cron", "0 0 1 1 *"))
    const [again, taken, cron, stranger, remove, start, connectorless] = await Promise.all([
      admin("user", "add", "--user", USER),
      schedule("--name", "yearly", "--user", USER, "--cron", "0 0 1 1 *"),
      schedule("--name", "wrong", "--user", USER, "--cron", "61 * * * *"),
      schedule("--name", "wrong", "--user", "nobody", "--cron", "0 0 1 1 *"),
      admin("schedule", "remove", "--name", "unknown"),
      admin("schedule", "start", "--name", "unknown"),
      run("ekey-cloud", "user", "add", "--tenant", "other", "--user", USER, "--config", "cloud.yaml"),
    ])
    failed(again, 1, /\(ERR_USER_EXISTS\)/)
    failed(taken, 1, /\(ERR_SCHEDULE\)/)
    failed(cron, 1, /minute.*\(ERR_SCHEDULE\)/)
    failed(stranger, 1, /\(ERR_USER_UNKNOWN\)/)
    failed(remove, 1, /\(ERR_SCHEDULE\)/)
    failed(start, 1, /\(ERR_SCHEDULE\)/)
    failed(connectorless, 1, /\(ERR_NO_CONNECTOR\)/)
    const [users, schedules] = await Promise.all([admin("user", "list", "--json"), admin("schedule", "list")])
    assert.match(succeeded(users), new RegExp(`^{"users":\\[{"user":"${USER}","state":"active","version":1,"createdAtMs":\\d+}\\]}\n$`))
    assert.ok(!succeeded(schedules).includes("wrong"))
  })

  const wrongFlags: readonly [Program, readonly string[], RegExp][] = [
    ["ekey-connector", ["enroll", "--token-file", "x", "--url", "wss://x", "--tokenfile", "x"], /unknown option '--tokenfile'.*Did you mean --token-file\?/s],
    ["ekey-connector", ["enroll", "--token-file", "x", "--url", "https://x"], /--url.*wss:\/\//s],
    ["ekey-worker", ["exec", "--user", USER, "--workflow", "backup.nightly", "--", "true"], /--workflow.*backup\.scheduled/s],
    ["ekey-worker", ["exec", "--user", USER, "--workflow", "backup.manual", "--handoff", "argv", "--", "true"], /--handoff.*fd, env:NAME or command:NAME/s],
    ["ekey-worker", ["get", "--user", "a b", "--workflow", "backup.manual"], /--user.*visible ASCII/s],
    ["ekey-worker", ["get", "--user", USER, "--workflow", "backup.manual", "--timeout", "0"], /--timeout.*from 1 to 60/s],
    ["ekey-cloud", ["schedule", "runs", "--tenant", "acme", "--schedule", "nightly", "--limit", "all"], /--limit.*from 1 to 500/s],
    ["ekey-cloud", ["user", "add", "--user", USER], /--tenant/],
    ["ekey-cloud", ["authority", "token", "--role", "connector", "--name", "hq-1"], /--tenant/],
    ["ekey-cloud", ["authority", "token", "--role", "gateway", "--tenant", "acme", "--name", "gw"], /--tenant/],
    ["ekey-cloud", ["authority", "revoke", "--role", "worker"], /--name.*--serial/s],
    ["ekey-cloud", ["rnu"], /unknown command 'rnu'.*run/s],
  ]
  it("end with 2 for a wrong command line, and name the flag and what it takes", async () => {
    for (const half of [wrongFlags.slice(0, 6), wrongFlags.slice(6)]) {
      await Promise.all(half.map(async ([program, args, words]) => {
        const ended = await run(program, ...args)
        failed(ended, 2, words)
        assert.equal(ended.out, "")
      }))
    }
  })

  it("end with 78 for a wrong config, and name setting, line and what was meant", async () => {
    await Promise.all([
      writeFile(join(folder, "polcy.yaml"), `cloud: {url: "wss://secret-user@x"}\ndata: connector\nrootKey: {source: file, file: root.key}\npolcy: {workflows: []}\n`),
      writeFile(join(folder, "empty.yaml"), `cloud: {url: "${url()}"}\ndata: nowhere\n`),
      writeFile(join(folder, "no-token.yaml"), "listen: {port: 0}\ndata: nowhere-2\nauthorities: {gateway: x, connector: x, worker: x}\n"),
    ])
    const [wrong, identity, missing, gatewayIdentity, offline] = await Promise.all([
      run("ekey-connector", "run", "--config", "polcy.yaml"), run("ekey-worker", "run", "--config", "empty.yaml"), run("ekey-worker", "run", "--config", "none.yaml"),
      run("ekey-cloud", "run", "--config", "no-token.yaml"), run("ekey-cloud", "status", "--config", "no-token.yaml"),
    ])
    failed(wrong, 78, /polcy\.yaml: 3 problems[^]*line 1: cloud\.url: must be a wss:\/\/ URL[^]*line 4: polcy: unknown setting \(did you mean "policy"\?\)/)
    assert.ok(!wrong.err.includes("secret-user"))
    failed(identity, 78, /no identity in .*nowhere.*ekey-worker enroll/)
    failed(missing, 78, /none\.yaml.*--config/)
    failed(gatewayIdentity, 78, /enrolmentTokenFile/)
    failed(offline, 1, /the gateway of no-token\.yaml is not running/)
  })

  it("take a token once, for its own role and name, and never one that pins others than published", async () => {
    await Promise.all([token("worker", "w-3"), writeFile(join(folder, "garbage.token"), "ekey1.garbage\n"), writeFile(join(folder, "other-pins.txt"), (await readFile(join(folder, "pins.txt"), "utf8")).replace(/(worker sha256:)./, "$1_"))])
    const enroll = (program: Program, file: string, data: string, ...more: string[]): Promise<Ended> => run(program, "enroll", "--token-file", file, "--url", url(), "--data", data, ...more)
    const [used, role, garbage, missing, pins, unreachable] = await Promise.all([
      enroll("ekey-worker", "w-1.token", "other-key"), enroll("ekey-connector", "w-3.token", "c-3"), enroll("ekey-worker", "garbage.token", "w-4"), enroll("ekey-worker", "none.token", "w-4"),
      enroll("ekey-worker", "w-3.token", "w-3", "--pins-file", "other-pins.txt"), run("ekey-worker", "enroll", "--token-file", "w-3.token", "--url", "wss://127.0.0.1:9", "--data", "w-3"),
    ])
    failed(used, 1, /\(ERR_TOKEN\)/)
    failed(role, 1, /\(ERR_TOKEN\)/)
    failed(garbage, 1, /\(ERR_TOKEN\)/)
    assert.ok(!garbage.err.includes("garbage\n"))
    failed(missing, 1, /none\.token.*\(ERR_FILE\)/)
    failed(pins, 1, /\(worker\).*\(ERR_ENROLMENT\)/)
    failed(unreachable, 1, /\(ERR_UNREACHABLE\)/)
    // None of the refused tries has used it up.
    succeeded(await enroll("ekey-worker", "w-3.token", "w-3", "--pins-file", "pins.txt", "--json"))
  })

  it("cut a revoked worker off within seconds, and it says why", async () => {
    await token("worker", "w-2")
    succeeded(await run("ekey-worker", "enroll", "--token-file", "w-2.token", "--url", url(), "--data", "w-2"))
    await writeFile(join(folder, "w-2.yaml"), `cloud: {url: "${url()}"}\ndata: w-2\n`)
    const other = programs.start("ekey-worker", ["run", "--config", "w-2.yaml"])
    await other.logged("link ready")
    const serials = succeeded(await run("ekey-cloud", "authority", "revoke", "--data", "a", "--role", "worker", "--tenant", "acme", "--name", "w-2"))
    assert.match(serials, /^[0-9a-f]{32}\n$/)
    const lost = await other.logged("link lost", 0, 15_000)
    assert.deepEqual([lost["closeCode"], lost["reason"]], [4401, "ERR_CERT_REVOKED"])
    assert.equal((await other.logged("link rejected"))["code"], "ERR_CERT_REVOKED")
    assert.ok(gateway.lines.some((line) => line.event === "upgrade refused" && line["code"] === "ERR_CERT_REVOKED"))
    assert.equal(await other.end("SIGTERM"), 0)
    succeeded(await ask("get"))
  })

  it("go on after malformed frames: who sends them is closed with 4400", async () => {
    const identity = await new IdentityFolder(join(folder, "worker", "identity")).load()
    assert.ok(identity)
    const frames = ["{", "[]", '{"jsonrpc":"2.0","method":"x"}', '{"jsonrpc":"2.0","id":1,"method":"operation.begin","params":{"__proto__":{}}}', '{"jsonrpc":"2.0","id":1,"result":{}}']
    const codes = await Promise.all(([...Array.from({ length: 10 }, () => frames), [Buffer.from([0xff])], [Buffer.alloc(1024 * 1024 + 1, 0x20)]] as const).map(async (sent) => {
      const stream = await connectTls({ host: "127.0.0.1", port }, identity, new AbortController().signal)
      const socket = await openWebSocket(stream, "/v1/worker", "127.0.0.1")
      const { promise: closed, resolve } = Promise.withResolvers<number>()
      socket.once("close", resolve)
      for (const frame of sent) socket.send(frame, { binary: false })
      return await closed
    }))
    assert.deepEqual(codes, [...Array.from({ length: 10 }, () => 4400), 1007, 1009])
    succeeded(await ask("get"))
    assert.equal(gateway.lines.some(({ event }) => event === "defect" || event === "request failed unexpectedly"), false)
  })

  it("name a connector that hangs within the deadline, one that is killed at once, and give the same ekey after its restart", async () => {
    const before = succeeded(await ask("get"))
    connector.signal("SIGSTOP")
    const [hung, waiting] = [ask("get", "--timeout", "2"), ask("get", "--timeout", "60")]
    failed(await hung, 1, /\(ERR_DEADLINE\)/)
    await connector.end("SIGKILL")
    failed(await waiting, 1, /\(ERR_(LINK_LOST|NO_CONNECTOR)\)/)
    failed(await ask("get"), 1, /\(ERR_NO_CONNECTOR\)/)
    startConnector()
    await connector.logged("link ready")
    assert.equal(succeeded(await ask("get")), before)
  })

  it("record a run whose worker was killed in the middle as ERR_WORKER_LOST, and the next one works", async () => {
    succeeded(await admin("schedule", "add", "--name", "slow", "--user", USER, "--job", "slow", "--cron", "0 0 1 1 *"))
    const ran = async (): Promise<number> => (await readFile(join(folder, "marker"), "utf8").catch(() => "")).length / 4
    succeeded(await admin("schedule", "start", "--name", "slow"))
    await until("the program", async () => await ran() === 1, 15_000)
    await worker.end("SIGKILL")
    await writeFile(join(folder, "go"), "")
    startWorker()
    const lost = await runEnded("slow")
    assert.deepEqual([lost.state, lost.reason], ["failed", "ERR_WORKER_LOST"])
    await worker.logged("link ready")
    succeeded(await admin("schedule", "start", "--name", "slow"))
    assert.equal((await runEnded("slow")).state, "succeeded")
  })

  it("end at SIGTERM with 0, each with a word", async () => {
    // The last test: nobody is left afterwards.
    for (const [name, daemon] of Object.entries({ worker, connector, gateway, authorities })) {
      assert.equal(await daemon.end("SIGTERM"), 0, name)
      assert.equal(daemon.lines.at(-1)?.event, "stopped", name)
    }
    assert.equal(authorities.lines.filter(({ event }) => event === "stopped").length, 4)
  })
})
