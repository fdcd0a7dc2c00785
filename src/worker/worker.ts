import type { Clock } from "../base/clock.ts"
import { EkeyError } from "../base/errors.ts"
import type { Lifecycle } from "../base/lifecycle.ts"
import type { Logger } from "../base/logger.ts"
import type { IdentityFolder } from "../wire/identity/identity-folder.ts"
import { openRevocations } from "../wire/identity/kept-revocations.ts"
import type { OwnIdentity } from "../wire/identity/own-identity.ts"
import { keepRenewed } from "../wire/identity/renewal.ts"
import { createGatewayDial } from "../wire/link/gateway-link.ts"
import type { WireHandlers, WirePeer } from "../wire/link/gateway-link.ts"
import { Link } from "../wire/link/link.ts"
import type { GatewayAddress } from "../wire/link/tls.ts"
import { PATHS } from "../wire/limits.ts"
import { EkeyClient, newInstance } from "./client.ts"
import type { JobDefinition } from "./job-definition.ts"
import { JobRunner } from "./job-runner.ts"

const HELLO_WITHIN_MS = 10_000
const LINK_WITHIN_MS = 10_000

export interface WorkerOptions {
  readonly address: GatewayAddress
  readonly own: OwnIdentity
  readonly folder: IdentityFolder
  readonly software: string
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
  readonly lifecycle: Lifecycle
}

export interface JobsOptions {
  readonly jobs: Readonly<Record<string, JobDefinition>>
  /** What every job's program finds in its environment. */
  readonly environment: Readonly<Record<string, string>>
}

/** Connects a client that only asks for ekeys. */
export async function connectClient(options: WorkerOptions): Promise<EkeyClient> {
  const { client } = await connect(options, () => ({ serves: null, handlers: {} }))
  return client
}

/** Starts a worker: runs the jobs that the cloud's scheduler names. */
export async function startWorker(options: WorkerOptions & JobsOptions): Promise<void> {
  const { jobs, environment, clock, log, lifecycle } = options
  const stop = new AbortController()
  await connect(options, (client, link) => {
    const runner = new JobRunner({
      jobs, client, environment, clock, log, signal: stop.signal,
      report: async (run, outcome, deadlineMs) => {
        // Whatever keeps the link away, a refused certificate too, may be mended: the report waits for it.
        const peer = await link.ready(deadlineMs).catch((cause: unknown) => { throw new EkeyError("ERR_UNREACHABLE", "no link to the gateway", { cause }) })
        await peer.call("job.finished", { run, outcome }, deadlineMs)
      },
    })
    // Stopped before the link, which the last reports go over.
    lifecycle.add("jobs", async () => {
      stop.abort()
      await runner.idle()
    })
    return {
      serves: () => ({ jobs: Object.keys(jobs), runs: [...runner.runs] }),
      handlers: {
        "job.start": (params) => {
          runner.start(params)
          return Promise.resolve({})
        },
        "job.cancel": ({ run }) => {
          runner.cancel(run)
          return Promise.resolve({})
        },
      },
    }
  })
}

interface Serving {
  readonly serves: (() => { jobs: string[]; runs: string[] }) | null
  readonly handlers: WireHandlers
}

async function connect(options: WorkerOptions, serve: (client: EkeyClient, link: Link<WirePeer>) => Serving): Promise<{ client: EkeyClient }> {
  const { address, own, folder, software, clock, random, log, lifecycle } = options
  const instance = newInstance()
  const revocations = await openRevocations({ folder, own, clock, log })
  const stop = new AbortController()
  let loops = Promise.resolve()
  lifecycle.add("link", async () => {
    stop.abort()
    await loops
  })
  const link = new Link<WirePeer>({
    dial: async (signal) => {
      await own.reload(folder)
      return await dial(signal)
    },
    clock, random, log,
  })
  const client = new EkeyClient({ link, identity: () => own.current(), revocations, clock })
  const { serves, handlers } = serve(client, link)
  const dial = createGatewayDial({
    address, path: PATHS.worker, identity: () => own.current(), revocations, handlers,
    hello: (peer) => peer.call("worker.hello", { instance, software, serves: serves?.() ?? null }, HELLO_WITHIN_MS),
    clock, random, log,
  })
  const send = async (...[params, deadlineMs]: Parameters<Parameters<typeof keepRenewed>[0]["send"]>) => (await link.ready(LINK_WITHIN_MS)).call("certificate.renew", params, deadlineMs)
  // A link that only asks leaves renewal to the worker that serves: two would each make a new key.
  const renewal = serves ? keepRenewed({ folder, own, send, clock, random, log }, stop.signal) : Promise.resolve()
  loops = Promise.all([link.run(stop.signal), renewal]).then(() => undefined)
  return { client }
}
