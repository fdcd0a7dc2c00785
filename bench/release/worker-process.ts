import { systemClock, systemRandom } from "../../src/base/clock.ts"
import { codeOf } from "../../src/base/errors.ts"
import { Lifecycle } from "../../src/base/lifecycle.ts"
import { createLog } from "../../src/bin/log.ts"
import { IdentityFolder } from "../../src/wire/identity/identity-folder.ts"
import { OwnIdentity } from "../../src/wire/identity/own-identity.ts"
import type { Operation } from "../../src/worker/client.ts"
import { connectClient } from "../../src/worker/worker.ts"
import { obeyParent, runWindow } from "./child.ts"
import type { LoadOrder, StartOrder, Window } from "./orders.ts"
import { BULK_USERS, REASON, userName, USERS, WORKFLOW } from "./scene.ts"

/** Long enough that a loaded machine shows as latency, not as errors. */
const DEADLINE_MS = 10_000
const POLL_EVERY_MS = 50

let operation: Operation | undefined
let next = 0

obeyParent((order) => order.do === "start" ? start(order) : load(order))

/** A worker as programs have it through the SDK: one link, one session, one operation. */
async function start({ port, identity }: StartOrder): Promise<void> {
  const folder = new IdentityFolder(identity)
  const own = await folder.load()
  if (!own) throw new Error("the worker is not enrolled")
  const log = createLog({ level: "info", stream: "stdout", name: "ekey-worker" })
  const client = await connectClient({
    address: { host: "127.0.0.1", port }, own: new OwnIdentity(own), folder, software: "bench",
    clock: systemClock, random: systemRandom, log, lifecycle: new Lifecycle({ clock: systemClock, log, stopDeadlineMs: 1_000 }),
  })
  operation = await client.begin({ product: "microsoft-365", workflow: WORKFLOW })
  await untilDurable(operation)
}

/** The connector releases nothing before its second copy is durable in the cloud; the last user's comes last. */
async function untilDurable(live: Operation): Promise<void> {
  for (;;) {
    try {
      const { ekey } = await live.release(userName(USERS - 1))
      ekey.wipe()
      return
    } catch (error) {
      if (codeOf(error) !== "ERR_NOT_DURABLE") throw error
      await systemClock.sleep(POLL_EVERY_MS)
    }
  }
}

async function load(order: LoadOrder): Promise<Window> {
  const live = operation
  if (!live) throw new Error("not started")
  const ask = order.kind === "single" ? () => releaseOne(live) : () => releaseMany(live)
  return await runWindow(order, async (isOver, answered) => {
    const slot = async (): Promise<void> => {
      let atMs = systemClock.monotonicMs()
      while (!isOver(atMs)) {
        await ask()
        const doneMs = systemClock.monotonicMs()
        if (!isOver(doneMs)) answered(doneMs - atMs)
        atMs = doneMs
      }
    }
    await Promise.all(Array.from({ length: order.inFlight }, slot))
  })
}

async function releaseOne(live: Operation): Promise<void> {
  const { ekey } = await live.release(userName(next++), { reason: REASON, deadlineMs: DEADLINE_MS })
  await ekey.consume(useEkey)
}

async function releaseMany(live: Operation): Promise<void> {
  const users = Array.from({ length: BULK_USERS }, () => userName(next++))
  for (const released of await live.releaseMany(users, { reason: REASON, deadlineMs: DEADLINE_MS })) {
    if (!released) throw new Error("an ekey was not released")
    await released.ekey.consume(useEkey)
  }
}

function useEkey(bytes: Uint8Array): void {
  if (bytes.length !== 32) throw new Error("that is no ekey")
}
