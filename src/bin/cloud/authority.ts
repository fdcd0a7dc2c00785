import { spawn } from "node:child_process"
import { join, resolve } from "node:path"
import { Command, Option } from "commander"
import { mintToken, revoke } from "../../authority/admin.ts"
import { createAuthority } from "../../authority/authority.ts"
import { readPublishedRoots } from "../../authority/root.ts"
import { serveAuthority } from "../../authority/serve.ts"
import { publishedTrustDomain } from "../../authority/trust-domain.ts"
import { systemClock } from "../../base/clock.ts"
import { EkeyError } from "../../base/errors.ts"
import { createFileDurably, makePrivateFolder } from "../../base/files.ts"
import type { Lifecycle } from "../../base/lifecycle.ts"
import type { Role} from "../../wire/identity/spiffe.ts";
import { ROLES, TrustDomain } from "../../wire/identity/spiffe.ts"
import { formatToken } from "../../wire/identity/token.ts"
import { Name, TenantId } from "../../wire/messages/scalars.ts"
import { EXIT_FAILED, printLine, printNotice } from "../cli.ts"
import { runDaemon, STOP_WITH_PARENT } from "../daemon.ts"
import { createLog } from "../log.ts"
import { parseAs } from "../options.ts"

const DEFAULT_FOLDER = "/var/lib/ekey-authority"
const DEFAULT_TRUST_DOMAIN = "ekey.internal"

interface RunFlags { data: string; role?: Role; trustDomain?: string; groupAccess?: true }
interface TokenFlags { data: string; role: Role; tenant?: string; name: string; out?: string }
interface RevokeFlags { data: string; role: Role; tenant?: string; name?: string; serial?: string }

const data = (): Option => new Option("--data <dir>", "folder of the authorities").default(DEFAULT_FOLDER)
const role = (): Option => new Option("--role <role>", "whose authority").choices(ROLES)

/** Where the authority of a role listens, below the authorities' folder. */
export function authoritySocket(folder: string, of: Role): string {
  return join(resolve(folder), "sockets", `${of}.sock`)
}

export function authorityCommand(): Command {
  const command = new Command("authority").description("sign certificates: one authority for each role, each with a key and a process of its own")
    .addHelpText("after", "\nExamples:\n  $ ekey-cloud authority run --data ./authority\n  $ ekey-cloud authority token --data ./authority --role worker --tenant acme --name backup-1 --out backup-1.token")
  command.command("run")
    .description("run the authority of one role, or without --role one process for each of the three")
    .addOption(data())
    .addOption(role())
    .addOption(new Option("--trust-domain <name>", `name that all identities share; fixed at the first start (default: ${DEFAULT_TRUST_DOMAIN})`).argParser(parseAs(TrustDomain)))
    .option("--group-access", "let the socket's group ask too, for a gateway that has an account of its own")
    .addHelpText("after", `
Examples:
  $ ekey-cloud authority run --data ./authority
  $ ekey-cloud authority run --data /var/lib/ekey-authority --role worker --trust-domain backup.example.com --group-access`)
    .action((flags: RunFlags) => flags.role === undefined ? runAll(flags) : runOne(flags, flags.role))
  command.command("token")
    .description("make an enrolment token: good once, for one hour, for one name. Keep it secret and off the command line")
    .addOption(data())
    .addOption(role().makeOptionMandatory())
    .addOption(new Option("--tenant <tenant>", "the customer; not for gateways").argParser(parseAs(TenantId)))
    .addOption(new Option("--name <name>", "name of the connector, worker or gateway").argParser(parseAs(Name)).makeOptionMandatory())
    .option("--out <file>", "write the token to a new file of mode 0600 instead of stdout")
    .addHelpText("after", `
Examples:
  $ ekey-cloud authority token --role connector --tenant acme --name hq-1 --out hq-1.token
  $ ekey-cloud authority token --role gateway --name gateway-1 --out gateway.token`)
    .action(makeToken)
  command.command("revoke")
    .description("revoke all that a name holds, or one certificate and what was renewed from it")
    .addOption(data())
    .addOption(role().makeOptionMandatory())
    .addOption(new Option("--tenant <tenant>", "the customer; not for gateways").argParser(parseAs(TenantId)))
    .addOption(new Option("--name <name>", "whose certificates").argParser(parseAs(Name)))
    .option("--serial <hex>", "one certificate's serial instead")
    .addHelpText("after", `
Example:
  $ ekey-cloud authority revoke --role worker --tenant acme --name backup-1`)
    .action(revokeName)
  command.command("pins")
    .description("print the three roots' pins, to be published where customers find them without the gateway")
    .addOption(data())
    .addHelpText("after", `
Example:
  $ ekey-cloud authority pins --data ./authority > pins.txt`)
    .action(printPins)
  return command
}

async function runOne(flags: RunFlags, of: Role): Promise<void> {
  const folder = resolve(flags.data)
  const log = createLog({ level: "info", stream: "stdout", name: `authority-${of}` })
  const known = await publishedTrustDomain(folder, of)
  const trustDomain = flags.trustDomain ?? known ?? DEFAULT_TRUST_DOMAIN
  if (known !== null && known !== trustDomain) throw new EkeyError("ERR_CONFIG", `--trust-domain: this authority's trust domain is ${known}, and can't change`)
  await makePrivateFolder(folder)
  await makePrivateFolder(join(folder, "sockets"))
  await runDaemon(log, async (lifecycle) => {
    const authority = await createAuthority({ role: of, folder, trustDomain, clock: systemClock, log })
    const server = await serveAuthority({ authority, socket: authoritySocket(folder, of), groupAccess: flags.groupAccess === true, clock: systemClock, log })
    lifecycle.add("socket", () => server.close())
    log.info("authority ready", { role: of, trustDomain, pin: authority.pin })
  })
}

/** Each authority is a process of its own, so that none can read another's key from its memory. */
async function runAll(flags: RunFlags): Promise<void> {
  const log = createLog({ level: "info", stream: "stdout", name: "authority" })
  await runDaemon(log, (lifecycle) => {
    for (const of of ROLES) startChild(flags, of, lifecycle)
    return Promise.resolve()
  })
}

function startChild(flags: RunFlags, of: Role, lifecycle: Lifecycle): void {
  const args = ["authority", "run", "--role", of, "--data", flags.data]
  if (flags.trustDomain !== undefined) args.push("--trust-domain", flags.trustDomain)
  if (flags.groupAccess) args.push("--group-access")
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? "", ...args], {
    // The pipe's end stops an authority whose parent was killed: a leftover would hold the socket.
    stdio: ["pipe", "inherit", "inherit"], env: { ...process.env, [STOP_WITH_PARENT]: "1" },
  })
  child.stdin.on("error", () => undefined) // It has gone; its exit says so.
  const { promise: ended, resolve: end } = Promise.withResolvers<undefined>()
  let stopping = false
  child.once("exit", (code) => {
    end(undefined)
    if (stopping) return
    // Two authorities of three are of no use: the service manager restarts them together.
    process.exitCode = code === null || code === 0 ? EXIT_FAILED : code
    process.kill(process.pid, "SIGTERM")
  })
  lifecycle.add(`authority ${of}`, async () => {
    stopping = true
    child.kill("SIGTERM")
    await ended
  })
}

async function makeToken(flags: TokenFlags): Promise<void> {
  const folder = resolve(flags.data)
  checkTenant(flags.role, flags.tenant)
  const token = await mintToken({ role: flags.role, folder, trustDomain: await trustDomainOf(folder, flags.role), clock: systemClock }, { tenant: flags.tenant ?? null, name: flags.name })
  const text = formatToken(token)
  if (flags.out === undefined) {
    printLine(text)
    return
  }
  if (!await createFileDurably(flags.out, `${text}\n`)) throw new EkeyError("ERR_FILE", `${flags.out} exists already: name a new file, the token in it may be unused`)
  printNotice(`token for ${flags.role} ${flags.name} in ${flags.out}, good until ${new Date(token.expiresAtMs).toISOString()}`)
}

async function revokeName(flags: RevokeFlags): Promise<void> {
  const folder = resolve(flags.data)
  if ((flags.name === undefined) === (flags.serial === undefined)) throw new EkeyError("ERR_USAGE", "give --name (with --tenant) or --serial")
  if (flags.serial === undefined) checkTenant(flags.role, flags.tenant)
  const what = flags.serial === undefined ? { tenant: flags.tenant ?? null, name: flags.name ?? "" } : { serial: flags.serial }
  const serials = await revoke({ role: flags.role, folder, trustDomain: await trustDomainOf(folder, flags.role), clock: systemClock }, what)
  if (serials.length === 0) throw new EkeyError("ERR_USAGE", `the ${flags.role} authority has issued nothing to ${flags.name ?? ""} that is still valid: check --role, --tenant and --name`)
  for (const serial of serials) printLine(serial)
  printNotice(`revoked ${serials.length === 1 ? "this certificate" : `these ${String(serials.length)} certificates`}, by serial; connected peers are told within seconds`)
}

function checkTenant(of: Role, tenant: string | undefined): void {
  if (of === "gateway" && tenant !== undefined) throw new EkeyError("ERR_USAGE", "--tenant: a gateway has no tenant, leave it out")
  if (of !== "gateway" && tenant === undefined) throw new EkeyError("ERR_USAGE", `--tenant: a ${of} belongs to a customer, name it`)
}

async function printPins(flags: { data: string }): Promise<void> {
  const folder = resolve(flags.data)
  const { pins } = await readPublishedRoots(folder, await trustDomainOf(folder, "gateway"))
  for (const of of ROLES) printLine(`${of} ${pins[of]}`)
}

async function trustDomainOf(folder: string, of: Role): Promise<string> {
  const trustDomain = await publishedTrustDomain(folder, of)
  if (trustDomain === null) throw new EkeyError("ERR_USAGE", `there is no ${of} authority in ${folder}: start it once with "ekey-cloud authority run", or name its folder with --data`)
  return trustDomain
}
