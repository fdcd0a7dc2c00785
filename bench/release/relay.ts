import type { Processes, Running } from "./processes.ts"
import { identityOf } from "./system.ts"

/** The raw relay's three processes: `near` stands for the worker, `middle` for the gateway, `far` for the connector. */
export interface Relay {
  readonly near: Running
  readonly middle: Running
  readonly far: Running
}

const FILE = "relay-process.ts"

/** Starts the relay with the certificates that the system has enrolled. */
export async function startRelay(processes: Processes, folder: string, kind: "json" | "pipe"): Promise<Relay> {
  const near = processes.helper(`${kind} near`, FILE, ["near", kind])
  const middle = processes.helper(`${kind} middle`, FILE, ["middle", kind])
  const far = processes.helper(`${kind} far`, FILE, ["far", kind])
  const port = Number(await middle.obey({ do: "start", port: 0, identity: identityOf(folder, "gateway") }))
  await far.obey({ do: "start", port, identity: identityOf(folder, "connector") })
  await near.obey({ do: "start", port, identity: identityOf(folder, "worker") })
  return { near, middle, far }
}
