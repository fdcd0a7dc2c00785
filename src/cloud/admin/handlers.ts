import type { Handlers } from "../../wire/rpc/peer.ts"
import type { Gateway } from "../gateway.ts"
import type { Database } from "../storage/database.ts"
import type { AdminMethods } from "./methods.ts"

/** Answers the admin's commands. Whoever may open the local socket is the admin. */
export function createAdminHandlers({ gateway, database }: { gateway: Gateway; database: Database }): Handlers<AdminMethods> {
  return {
    // The user is stored first, so that a connector's answer that gets lost leaves a row that a repeated command completes.
    "user.add": async ({ tenant, user }, context) => {
      await database.users.add(tenant, user)
      const { version, created } = await gateway.custodian.provision(tenant, user, context.remainingMs())
      await database.users.activate(tenant, user, version)
      return { version, created }
    },
    "user.list": async ({ tenant }) => ({
      users: (await database.users.list(tenant)).map((user) => ({ user: user.user, state: user.state, version: user.state === "active" ? user.ekeyVersion : null, createdAtMs: user.createdAtMs })),
    }),
    "schedule.add": async ({ tenant, schedule }) => {
      await gateway.scheduler.add({ tenant, ...schedule })
      return {}
    },
    "schedule.remove": async ({ tenant, name }) => {
      await gateway.scheduler.remove(tenant, name)
      return {}
    },
    "schedule.list": async ({ tenant }) => ({
      schedules: (await database.schedules.list(tenant)).map(({ tenant: _, createdAtMs: __, ...schedule }) => schedule),
    }),
    "schedule.start": async ({ tenant, name }) => ({ run: await gateway.scheduler.start(tenant, name) }),
    "run.list": async ({ tenant, schedule, limit }) => ({
      runs: (await database.runs.last(tenant, schedule, limit)).map(({ tenant: _, ...run }) => run),
    }),
    "status": () => Promise.resolve({
      peers: ([["connector", gateway.connectors], ["worker", gateway.workers]] as const).flatMap(([role, registry]) =>
        registry.all().map(({ tenant, name, verified, jobs }) => ({ role, tenant, name, notAfterMs: verified.notAfterMs, jobs: [...jobs] }))),
    }),
  }
}
