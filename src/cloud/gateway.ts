import type { Clock } from "../base/clock.ts"
import type { Logger } from "../base/logger.ts"
import type { Lifecycle } from "../base/lifecycle.ts"
import type { IdentityFolder } from "../wire/identity/identity-folder.ts"
import type { OwnIdentity } from "../wire/identity/own-identity.ts"
import { keepRenewed } from "../wire/identity/renewal.ts"
import { RevocationLists } from "../wire/identity/revocation.ts"
import type { WireHandlers, WirePeer } from "../wire/link/gateway-link.ts"
import type { HelloResult } from "../wire/messages/hello.ts"
import { createAlarm } from "./alarm.ts"
import type { Authorities } from "./authorities.ts"
import { createConnectorHandlers } from "./connector-service.ts"
import type { Cron } from "./cron.ts"
import { ConnectorCustodian } from "./custody/connector-custodian.ts"
import type { Custodian } from "./custody/custodian.ts"
import { listen } from "./listener.ts"
import type { Arrival } from "./listener.ts"
import { OpenOperations } from "./operations.ts"
import { Registry } from "./registry.ts"
import { RevocationFeed } from "./revocation-feed.ts"
import { Scheduler } from "./scheduler.ts"
import type { Database } from "./storage/database.ts"
import { createWorkerHandlers } from "./worker-service.ts"

export interface GatewayOptions {
  readonly own: OwnIdentity
  readonly folder: IdentityFolder
  readonly host: string
  readonly port: number
  readonly database: Database
  readonly authorities: Authorities
  readonly cron: Cron
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  /** Takes what was started, to be stopped in reverse. */
  readonly lifecycle: Lifecycle
}

export interface Gateway {
  readonly port: number
  readonly custodian: Custodian
  readonly scheduler: Scheduler
  readonly connectors: Registry
  readonly workers: Registry
}

/** Starts the gateway: everything between the door and the database. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { own, folder, host, port, database, authorities, cron, clock, random, log, lifecycle } = options
  const connectors = new Registry()
  const workers = new Registry()
  const revocations = new RevocationLists({ trust: own.current().trust, clock })
  const alarm = createAlarm(database.alarms, log)
  const operations = new OpenOperations(database.operations)
  const custodian = new ConnectorCustodian({ connectors, clock, random })
  const scheduler = new Scheduler({ schedules: database.schedules, runs: database.runs, users: database.users, workers, cron, clock, random, log })
  const feed = new RevocationFeed({ authorities, revocations, registries: [connectors, workers], clock, log })
  await feed.refresh()

  const greet = (): HelloResult => ({ nowMs: clock.now(), revocations: [...revocations.current()] })
  const renewal: WireHandlers = {
    "certificate.renew": async ({ deadlineMs: _, ...params }, context) => await (await authorities.peer(params.role)).call("certificate.renew", params, context.remainingMs()),
  }
  const listener = await listen({
    host, port, identity: () => own.current(), revocations, clock, random, log,
    serve: {
      connector: (arrival, peer) => ({
        ...renewal,
        ...createConnectorHandlers({ tenant: arrival.tenant, connector: arrival.verified.identity.name, records: database.records, alarm }),
        "connector.hello": () => {
          join(connectors, arrival, peer(), arrival.verified.identity.name, [])
          return Promise.resolve(greet())
        },
      }),
      worker: (arrival, peer) => {
        const { tenant, verified: { identity: { name } } } = arrival
        return {
          ...renewal,
          ...createWorkerHandlers({ tenant, worker: name, custodian, operations, scheduler }),
          "worker.hello": async ({ instance, serves }) => {
            await operations.restore(tenant, name)
            if (serves) await scheduler.reconcile(tenant, name, serves.runs)
            join(workers, arrival, peer(), serves ? name : `${name}/${instance}`, serves?.jobs ?? [])
            return greet()
          },
        }
      },
      enrol: () => ({
        "certificate.enrol": async ({ deadlineMs: _, ...params }, context) => await (await authorities.peer(params.role)).call("certificate.enrol", params, context.remainingMs()),
      }),
    },
  })
  lifecycle.add("listener", () => listener.close())
  own.onReplaced((identity) => { listener.useIdentity(identity) })

  const stop = new AbortController()
  const send = async (...[params, deadlineMs]: Parameters<Parameters<typeof keepRenewed>[0]["send"]>) => await (await authorities.peer("gateway")).call("certificate.renew", params, deadlineMs)
  const loops = Promise.all([
    scheduler.run(stop.signal),
    feed.run(stop.signal),
    keepRenewed({ folder, own, send, clock, random, log }, stop.signal),
  ])
  lifecycle.add("loops", async () => {
    stop.abort()
    await loops
  })
  log.info("gateway ready", { host, port: listener.port })
  return { port: listener.port, custodian, scheduler, connectors, workers }
}

function join(registry: Registry, { verified, tenant }: Arrival, peer: WirePeer, slot: string, jobs: readonly string[]): void {
  registry.add({ peer, verified, tenant, name: verified.identity.name, slot, jobs: new Set(jobs) })
}
