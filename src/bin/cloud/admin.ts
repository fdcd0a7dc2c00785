import { resolve } from "node:path"
import { Command, InvalidArgumentError, Option } from "commander"
import { systemClock } from "../../base/clock.ts"
import { codeOf, EkeyError } from "../../base/errors.ts"
import { silentLogger } from "../../base/logger.ts"
import { ADMIN_METHODS } from "../../cloud/admin/methods.ts"
import type { AdminMethods } from "../../cloud/admin/methods.ts"
import { GatewayConfig } from "../../cloud/config.ts"
import { CLOSE_CODES } from "../../wire/limits.ts"
import { Name, TenantId, UserId } from "../../wire/messages/scalars.ts"
import { Product, Workflow } from "../../wire/messages/workflows.ts"
import { connectLocal } from "../../wire/rpc/local-socket.ts"
import type { RpcPeer } from "../../wire/rpc/peer.ts"
import { printLine, printNotice } from "../cli.ts"
import { loadConfig } from "../config-file.ts"
import { collectPairs, parseAs } from "../options.ts"
import { formatTime, printTable } from "../table.ts"
import { adminSocket, DEFAULT_CONFIG } from "./run.ts"

const ANSWER_WITHIN_MS = 30_000
const MAX_DETAIL = 240

interface Flags { config: string; tenant: string; json?: true }
interface UserFlags extends Flags { user: string }
interface NameFlags extends Flags { name: string }
interface ScheduleFlags extends NameFlags { user: string; job: string; cron: string; product: Product; workflow: Workflow; parameter?: Record<string, string> }
interface RunsFlags extends Flags { schedule: string; limit: number }

/** The commands that ask a running gateway, over its local socket. */
export function adminCommands(): Command[] {
  const user = new Command("user").description("users whose data is backed up, each with an ekey of its own")
    .addHelpText("after", "\nExample:\n  $ ekey-cloud user add --tenant acme --user user-1@acme.example")
  withCommon(user.command("add")).description("add a user and have its first ekey made, durable in two places").addOption(userOption())
    .addHelpText("after", "\nExample:\n  $ ekey-cloud user add --tenant acme --user user-1@acme.example").action(addUser)
  withCommon(user.command("list")).description("list the users of a tenant")
    .addHelpText("after", "\nExample:\n  $ ekey-cloud user list --tenant acme --json").action(listUsers)

  const schedule = new Command("schedule").description("which job runs when, for which user")
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule add --tenant acme --name nightly --user user-1@acme.example --job documents --cron '0 2 * * *'")
  withCommon(schedule.command("add")).description("add a schedule; times are UTC")
    .addOption(nameOption()).addOption(userOption())
    .requiredOption("--job <name>", "a job of the worker's config", parseAs(Name))
    .requiredOption("--cron <expression>", "five fields, or six with seconds first")
    .addOption(new Option("--product <product>").choices(Product.options).default("microsoft-365"))
    .addOption(new Option("--workflow <workflow>").choices(Workflow.options).default("backup.scheduled"))
    .option("--parameter <name=value>", "a parameter that the job declares; may be repeated", collectPairs)
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule add --tenant acme --name nightly --user user-1@acme.example --job documents --cron '0 2 * * *'")
    .action(addSchedule)
  withCommon(schedule.command("list")).description("list the schedules of a tenant")
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule list --tenant acme").action(listSchedules)
  withCommon(schedule.command("remove")).description("remove a schedule; its runs are kept").addOption(nameOption())
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule remove --tenant acme --name nightly").action(removeSchedule)
  withCommon(schedule.command("start")).description("start a schedule's job now").addOption(nameOption())
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule start --tenant acme --name nightly").action(startSchedule)
  withCommon(schedule.command("runs")).description("list a schedule's runs, newest first")
    .requiredOption("--schedule <name>", "whose runs", parseAs(Name))
    .option("--limit <n>", "at most so many", parseLimit, 20)
    .addHelpText("after", "\nExample:\n  $ ekey-cloud schedule runs --tenant acme --schedule nightly --json").action(listRuns)

  const status = new Command("status").description("who is connected").option("--config <file>", "the gateway's config", DEFAULT_CONFIG).option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ ekey-cloud status --json").action(showStatus)
  return [user, schedule, status]
}

function parseLimit(text: string): number {
  const limit = Number(text)
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= 500)) throw new InvalidArgumentError("It must be from 1 to 500.")
  return limit
}

function withCommon(command: Command): Command {
  return command
    .option("--config <file>", "the gateway's config", DEFAULT_CONFIG)
    .requiredOption("--tenant <tenant>", "the customer", parseAs(TenantId))
    .option("--json", "print one JSON object")
}

const userOption = (): Option => new Option("--user <user>", "the user's id").argParser(parseAs(UserId)).makeOptionMandatory()
const nameOption = (): Option => new Option("--name <name>", "the schedule's name").argParser(parseAs(Name)).makeOptionMandatory()

async function ask<T>(configFile: string, use: (peer: RpcPeer<AdminMethods>) => Promise<T>): Promise<T> {
  const { config, path } = await loadConfig(resolve(configFile), GatewayConfig)
  const peer = await connectLocal({ path: adminSocket(path(config.data)), methods: ADMIN_METHODS, clock: systemClock, log: silentLogger }).catch((cause: unknown) => {
    throw codeOf(cause) === "ERR_UNREACHABLE" ? new EkeyError("ERR_NOT_RUNNING", `the gateway of ${configFile} is not running`, { cause }) : cause
  })
  try {
    return await use(peer)
  } finally {
    peer.close(CLOSE_CODES.normal, "done")
  }
}

async function addUser({ config, tenant, user, json }: UserFlags): Promise<void> {
  const result = await ask(config, (peer) => peer.call("user.add", { tenant, user }, ANSWER_WITHIN_MS)).catch((error: unknown) => {
    if (error instanceof EkeyError && error.retryable && error.code !== "ERR_NOT_RUNNING") printNotice(`${user} is noted, without an ekey yet: repeat this command to complete it`)
    throw error
  })
  printLine(json ? JSON.stringify({ user, ...result }) : `${user} has ekey version ${String(result.version)}${result.created ? ", made now" : ""}`)
}

async function listUsers({ config, tenant, json }: Flags): Promise<void> {
  const { users } = await ask(config, (peer) => peer.call("user.list", { tenant }, ANSWER_WITHIN_MS))
  if (json) printLine(JSON.stringify({ users }))
  else printTable(["USER", "STATE", "VERSION", "SINCE"], users.map((user) => [user.user, user.state, user.version, formatTime(user.createdAtMs)]))
}

async function addSchedule({ config, tenant, name, user, job, cron, product, workflow, parameter, json }: ScheduleFlags): Promise<void> {
  const schedule = { name, user, job, cron, product, workflow, parameters: parameter ?? {}, enabled: true }
  await ask(config, (peer) => peer.call("schedule.add", { tenant, schedule }, ANSWER_WITHIN_MS))
  printLine(json ? JSON.stringify(schedule) : `${name} runs ${job} for ${user} at ${cron}`)
}

async function listSchedules({ config, tenant, json }: Flags): Promise<void> {
  const { schedules } = await ask(config, (peer) => peer.call("schedule.list", { tenant }, ANSWER_WITHIN_MS))
  if (json) printLine(JSON.stringify({ schedules }))
  else printTable(["NAME", "CRON", "JOB", "WORKFLOW", "USER"], schedules.map((schedule) => [schedule.name, schedule.cron, schedule.job, schedule.workflow, schedule.user]))
}

async function removeSchedule({ config, tenant, name, json }: NameFlags): Promise<void> {
  await ask(config, (peer) => peer.call("schedule.remove", { tenant, name }, ANSWER_WITHIN_MS))
  if (json) printLine(JSON.stringify({ name }))
  else printNotice(`${name} removed`)
}

async function startSchedule({ config, tenant, name, json }: NameFlags): Promise<void> {
  const { run } = await ask(config, (peer) => peer.call("schedule.start", { tenant, name }, ANSWER_WITHIN_MS))
  printLine(json ? JSON.stringify({ run }) : `run ${run}`)
}

async function listRuns({ config, tenant, schedule, limit, json }: RunsFlags): Promise<void> {
  const { runs } = await ask(config, (peer) => peer.call("run.list", { tenant, schedule, limit }, ANSWER_WITHIN_MS))
  if (json) printLine(JSON.stringify({ runs }))
  else printTable(["STARTED", "STATE", "REASON", "WORKER", "DETAIL"], runs.map((run) => [formatTime(run.startedAtMs), run.state, run.reason, run.worker, oneLine(run.detail)]))
}

/** A failure's text in a table: its lines joined, its end kept, without what programs print for programs. */
function oneLine(detail: string | null): string | null {
  const text = detail?.split("\n").filter((line) => !line.startsWith("{")).join(" | ") ?? null
  return text !== null && text.length > MAX_DETAIL ? `…${text.slice(-MAX_DETAIL)}` : text
}

async function showStatus({ config, json }: { config: string; json?: true }): Promise<void> {
  const { peers } = await ask(config, (peer) => peer.call("status", {}, ANSWER_WITHIN_MS))
  if (json) printLine(JSON.stringify({ peers }))
  else printTable(["ROLE", "TENANT", "NAME", "CERTIFICATE UNTIL", "JOBS"], peers.map((peer) => [peer.role, peer.tenant, peer.name, formatTime(peer.notAfterMs), peer.jobs.join(",")]))
}
