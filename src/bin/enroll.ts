import { join } from "node:path"
import { text } from "node:stream/consumers"
import { systemClock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import { makePrivateFolder, readFileIfPresent, writeFileDurably } from "../base/files.ts"
import { silentLogger } from "../base/logger.ts"
import { IdentityFolder } from "../wire/identity/identity-folder.ts"
import type { LocalIdentity } from "../wire/identity/identity-folder.ts"
import { formatSpiffeId, ROLES } from "../wire/identity/spiffe.ts"
import type { Role } from "../wire/identity/spiffe.ts"
import { parseToken } from "../wire/identity/token.ts"
import type { EnrolmentToken } from "../wire/identity/token.ts"
import { enrolThroughGateway } from "../wire/link/enrolment.ts"
import { parseGatewayUrl } from "../wire/link/tls.ts"
import { printLine, printNotice } from "./cli.ts"

/** Where a daemon keeps its identity, below its data folder. */
export function identityFolder(data: string): IdentityFolder {
  return new IdentityFolder(join(data, "identity"))
}

export interface EnrollFlags {
  readonly tokenFile: string
  readonly url: string
  readonly data: string
  readonly pinsFile?: string
  readonly json?: true
}

const MAX_ENROLMENT_MS = 45_000

/** `enroll` of connectors and workers: a token becomes a key and a certificate in the data folder. */
export async function enroll(role: Exclude<Role, "gateway">, flags: EnrollFlags): Promise<void> {
  const token = parseToken(await readToken(flags.tokenFile))
  if (token.identity.role !== role) throw new EkeyError("ERR_TOKEN", `the token is for a ${token.identity.role}, not for a ${role}`)
  if (flags.pinsFile !== undefined) await comparePins(token, flags.pinsFile)
  else if (!flags.json) for (const of of ROLES) printNotice(`${of.padEnd(9)} authority ${token.pins[of]}`)
  const usedTokenFile = join(flags.data, "identity", "token-id")
  const known = await identityFolder(flags.data).load().catch(() => null) // One that can't be used is what enrolment replaces.
  if (known && (await readFileIfPresent(usedTokenFile))?.toString("utf8") === token.id) {
    printLine(flags.json ? describeJson(known, token) : `enrolled already as ${describeIdentity(known)}`)
    return
  }
  await makePrivateFolder(flags.data)
  const giveUp = new AbortController()
  const cancel = systemClock.after(MAX_ENROLMENT_MS, () => { giveUp.abort() })
  const identity = await enrolThroughGateway({
    address: parseGatewayUrl(flags.url), token, folder: identityFolder(flags.data), clock: systemClock, log: silentLogger, signal: giveUp.signal,
  }).finally(cancel)
  await writeFileDurably(usedTokenFile, token.id)
  if (flags.json) {
    printLine(describeJson(identity, token))
    return
  }
  if (flags.pinsFile === undefined) printNotice("Compare these pins with the published ones (ekey-cloud authority pins): they decide whom this end believes.")
  printLine(`enrolled as ${describeIdentity(identity)}`)
}

function describeIdentity({ identity, notAfterMs }: LocalIdentity): string {
  return `${formatSpiffeId(identity)}, certificate until ${new Date(notAfterMs).toISOString()}`
}

function describeJson({ identity, notAfterMs }: LocalIdentity, { pins }: EnrolmentToken): string {
  return JSON.stringify({ id: formatSpiffeId(identity), notAfterMs, pins })
}

/** @throws EkeyError ERR_CONFIG when this end has not been enrolled. */
export async function loadIdentity(data: string, program: string): Promise<LocalIdentity> {
  const identity = await identityFolder(data).load()
  if (!identity) throw new EkeyError("ERR_CONFIG", `there is no identity in ${data}: run "${program} enroll --token-file FILE --url wss://… --data ${data}" first`)
  if (identity.notAfterMs <= systemClock.now()) throw new EkeyError("ERR_CERT_EXPIRED", `the certificate ended at ${new Date(identity.notAfterMs).toISOString()}`)
  return identity
}

/** From a file or, for "-", from stdin: never from the command line, which other accounts can read. */
async function readToken(file: string): Promise<string> {
  if (file === "-") return await text(process.stdin)
  const stored = await readFileIfPresent(file)
  if (!stored) throw new EkeyError("ERR_FILE", `the token file ${file} is not there`)
  return stored.toString("utf8")
}

/** The file is what `ekey-cloud authority pins` prints, got from the vendor by another way than the token. */
async function comparePins(token: EnrolmentToken, file: string): Promise<void> {
  const published = await readFileIfPresent(file)
  if (!published) throw new EkeyError("ERR_FILE", `the pins file ${file} is not there`)
  const lines = published.toString("utf8").split(/\r?\n/)
  const different = ROLES.filter((role) => !lines.includes(`${role} ${token.pins[role]}`))
  if (different.length > 0) throw new EkeyError("ERR_ENROLMENT", `the token's pins differ from the published ones (${different.join(", ")}): do not use this token`)
}
