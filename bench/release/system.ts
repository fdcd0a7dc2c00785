import { randomBytes } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { mintToken } from "../../src/authority/admin.ts"
import { systemClock } from "../../src/base/clock.ts"
import { makePrivateFolder } from "../../src/base/files.ts"
import { silentLogger } from "../../src/base/logger.ts"
import { authoritySocket } from "../../src/bin/cloud/authority.ts"
import { identityFolder } from "../../src/bin/enroll.ts"
import { FileRootKeySource } from "../../src/connector/root-key/file.ts"
import { openVault } from "../../src/connector/store/vault.ts"
import { EKEY_BYTES, RecordSealer } from "../../src/crypto/sealed-record.ts"
import { ROLES } from "../../src/wire/identity/spiffe.ts"
import type { Role } from "../../src/wire/identity/spiffe.ts"
import { formatToken } from "../../src/wire/identity/token.ts"
import type { EnrolmentToken } from "../../src/wire/identity/token.ts"
import { enrolThroughGateway } from "../../src/wire/link/enrolment.ts"
import type { Processes, Running } from "./processes.ts"
import { TENANT, userName, USERS } from "./scene.ts"

/** The three processes that are measured, as `npm start` and the daemons' packages run them. */
export interface System {
  readonly worker: Running
  readonly gateway: Running
  readonly connector: Running
}

export interface SystemOptions {
  readonly processes: Processes
  /** For all data of the run. */
  readonly folder: string
  /** More arguments of `node` for one of the measured processes. */
  readonly nodeArgs: (name: keyof System) => readonly string[]
  readonly progress: (line: string) => void
}

const TRUST_DOMAIN = "bench.internal"

/** The folder of an identity that the system has enrolled. */
export function identityOf(folder: string, name: keyof System): string {
  return join(folder, name, "identity")
}

/**
 * Brings up authorities, gateway, connector and worker: the programs themselves with their default
 * settings; only the worker is a load generator around the product's SDK.
 */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { processes, folder, nodeArgs, progress } = options
  progress("starting the three authorities")
  const authorityFolder = join(folder, "authority")
  const authorities = ROLES.map((role) => processes.program(`authority-${role}`, "ekey-cloud.ts",
    ["authority", "run", "--role", role, "--data", authorityFolder, "--trust-domain", TRUST_DOMAIN]))
  const filled = fillVault(join(folder, "connector"))
  filled.catch(() => undefined) // Awaited below; what fails before that is told first.
  await Promise.all(authorities.map((authority) => authority.event("authority ready")))

  progress("starting the gateway")
  await writeFile(join(folder, "gateway.token"), formatToken(await tokenFor(authorityFolder, "gateway")), { mode: 0o600 })
  await writeConfig(folder, "cloud", {
    listen: { port: 0 }, data: "gateway", enrolmentTokenFile: "gateway.token",
    authorities: Object.fromEntries(ROLES.map((role) => [role, authoritySocket(authorityFolder, role)])),
  })
  const gateway = processes.program("gateway", "ekey-cloud.ts", ["run", "--config", join(folder, "cloud.yaml")], nodeArgs("gateway"))
  const port = Number((await gateway.event("gateway ready"))["port"])

  progress(`enrolling connector and worker, filling the vault with ${String(USERS)} users`)
  await Promise.all([
    enrol(await tokenFor(authorityFolder, "connector"), join(folder, "connector"), port),
    enrol(await tokenFor(authorityFolder, "worker"), join(folder, "worker"), port),
    filled,
  ])
  await writeConfig(folder, "connector", {
    cloud: { url: `wss://127.0.0.1:${String(port)}` }, data: "connector",
    rootKey: { source: "file", file: "connector/root.key" }, policy: { workflows: ["backup.*", "restore.*"] },
  })
  const connector = processes.program("connector", "ekey-connector.ts", ["run", "--config", join(folder, "connector.yaml")], nodeArgs("connector"))
  const worker = processes.helper("worker", "worker-process.ts", [], nodeArgs("worker"))
  await connector.event("link ready")
  await worker.obey({ do: "start", port, identity: identityOf(folder, "worker") })
  return { worker, gateway, connector }
}

/** JSON is YAML. */
async function writeConfig(folder: string, name: string, config: unknown): Promise<void> {
  await writeFile(join(folder, `${name}.yaml`), JSON.stringify(config))
}

async function tokenFor(folder: string, role: Role): Promise<EnrolmentToken> {
  return await mintToken({ role, folder, trustDomain: TRUST_DOMAIN, clock: systemClock }, { tenant: role === "gateway" ? null : TENANT, name: `${role}-1` })
}

async function enrol(token: EnrolmentToken, data: string, port: number): Promise<void> {
  await makePrivateFolder(data)
  await enrolThroughGateway({
    address: { host: "127.0.0.1", port }, token, folder: identityFolder(data), clock: systemClock, log: silentLogger, signal: new AbortController().signal,
  })
}

/** Writes the ekeys before the connector starts; it brings their blind copies to the gateway by itself. */
async function fillVault(data: string): Promise<void> {
  const vault = join(data, "vault")
  await makePrivateFolder(vault)
  const store = await openVault({ folder: vault, tenant: TENANT })
  try {
    const rootKey = await new FileRootKeySource(join(data, "root.key")).create()
    const sealer = await rootKey.consume((bytes) => new RecordSealer({ rootKey: bytes, tenant: TENANT }))
    await store.bindRootKey(sealer.rootKeyId)
    await Promise.all(Array.from({ length: USERS }, (_, index) => {
      const id = { user: userName(index), version: 1 }
      return store.create(id, sealer.seal(id, randomBytes(EKEY_BYTES), systemClock.now()))
    }))
  } finally {
    await store.close()
  }
}
