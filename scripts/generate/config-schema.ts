import { z } from "zod"
import { GatewayConfig } from "../../src/cloud/config.ts"
import { ConnectorConfig } from "../../src/connector/config.ts"
import { WorkerConfig } from "../../src/worker/config.ts"

/** The config of each program, by the name of its files in `config/`. */
export const CONFIGS = { cloud: GatewayConfig, connector: ConnectorConfig, worker: WorkerConfig } as const

/** A config's JSON Schema, for editors: what is written down, before defaults are filled in. */
export function configSchema(name: string, schema: z.ZodType): string {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" })
  return `${JSON.stringify({ $schema, title: `${name}.yaml`, description: "Generated from the program's own check of its config: the program also checks what a schema can't say.", ...rest }, null, 2)}\n`
}
