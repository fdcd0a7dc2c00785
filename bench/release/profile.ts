import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { z } from "zod"

/** The part of V8's .cpuprofile that is needed. */
const CpuProfile = z.object({
  nodes: z.array(z.object({
    id: z.int(),
    callFrame: z.object({ functionName: z.string(), url: z.string() }),
    children: z.array(z.int()).optional(),
  })),
  startTime: z.number(),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.number()),
})
export type CpuProfile = z.infer<typeof CpuProfile>

/** By the file of a function; the first that fits. */
const GROUPS: readonly (readonly [string, RegExp])[] = [
  ["schemas (zod)", /node_modules\/zod\/|\/src\/wire\/messages\//],
  ["vault (lmdb)", /node_modules\/lmdb\/|\/src\/connector\/store\//],
  ["crypto", /^node:(?:internal\/)?crypto|\/src\/crypto\//],
  ["frames, JSON and dispatch", /\/src\/wire\/rpc\/(?:frame|peer|deadlines)\.ts|\/src\/base\/(?:bytes|clock)\.ts|^node:(?:internal\/perf|internal\/encoding|internal\/util)/],
  ["WebSocket (ws)", /node_modules\/ws\/|\/src\/wire\/rpc\/websocket\.ts/],
  ["sockets and TLS", /^node:(?:net|_tls|tls|internal\/(?:stream|js_stream)|stream|events|buffer|internal\/buffer|internal\/timers|timers|internal\/async|internal\/process)|node:internal\/(?:fixed_queue|errors|validators|streams)/],
  ["the product's own code", /\/src\//],
  ["the load generator", /\/bench\//],
]
const ELSE = "other"
const NATIVE = "native code outside of JavaScript"

/** By the name that V8 gives to what is no function. */
const SPECIAL = new Map([["(garbage collector)", "garbage collection"], ["(program)", NATIVE], ["(root)", NATIVE]])
const IDLE = "(idle)"

export interface Shares {
  /** Of the window, 0 to 1. */
  readonly busy: number
  /** Of the busy time, 0 to 1, largest first. */
  readonly groups: readonly (readonly [group: string, share: number])[]
  readonly functions: readonly (readonly [name: string, share: number])[]
}

/** @throws Error when the file is no CPU profile. */
export async function readProfile(file: string): Promise<CpuProfile> {
  return CpuProfile.parse(JSON.parse(await readFile(file, "utf8")))
}

/** Where the time between two moments went, by self time. A native function counts to the file that called it. */
export function sharesOf(profile: CpuProfile, window: { startedUs: number; endedUs: number }): Shares {
  const parents = new Map(profile.nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id])))
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const fileOf = (id: number | undefined): string => id === undefined ? "" : frames.get(id)?.url || fileOf(parents.get(id))
  const selfUs = new Map<number, number>()
  let atUs = profile.startTime
  profile.samples.forEach((id, index) => {
    const deltaUs = profile.timeDeltas[index] ?? 0
    atUs += deltaUs
    if (atUs >= window.startedUs && atUs <= window.endedUs) selfUs.set(id, (selfUs.get(id) ?? 0) + deltaUs)
  })
  const groups = new Map<string, number>()
  const functions = new Map<string, number>()
  let busyUs = 0
  let idleUs = 0
  for (const [id, us] of selfUs) {
    const name = frames.get(id)?.functionName ?? ""
    if (name === IDLE) {
      idleUs += us
      continue
    }
    busyUs += us
    const file = fileOf(id)
    const group = SPECIAL.get(name) ?? GROUPS.find(([, files]) => files.test(file))?.[0] ?? ELSE
    groups.set(group, (groups.get(group) ?? 0) + us)
    const label = `${name || "(anonymous)"} ${shorten(file)}`.trim()
    functions.set(label, (functions.get(label) ?? 0) + us)
  }
  const ranked = (of: ReadonlyMap<string, number>) => [...of].map(([name, us]) => [name, us / busyUs] as const).sort((a, b) => b[1] - a[1])
  return { busy: busyUs / (busyUs + idleUs), groups: ranked(groups), functions: ranked(functions) }
}

const ROOT = new URL("../..", import.meta.url)

function shorten(file: string): string {
  return file.replace(ROOT.href, "").replace(fileURLToPath(ROOT), "")
}
