import { z } from "zod"
import { ConfigPath, LogConfig } from "../wire/config.ts"

/** `cloud.yaml`. Unknown settings are refused. */
export const GatewayConfig = z.strictObject({
  listen: z.strictObject({
    host: z.string().min(1).max(255).default("127.0.0.1").describe("address to listen on"),
    port: z.int().min(0).max(65_535).default(7400).describe("0 takes any free port"),
  }).prefault({}).describe("where connectors and workers dial"),
  data: ConfigPath.describe("folder of the gateway's identity, its database and its admin socket"),
  enrolmentTokenFile: ConfigPath.optional().describe("a token of the gateway authority, used once at the first start"),
  authorities: z.strictObject({
    gateway: ConfigPath.describe("socket of the authority that signs gateways"),
    connector: ConfigPath.describe("socket of the authority that signs connectors"),
    worker: ConfigPath.describe("socket of the authority that signs workers"),
  }).describe("the local sockets of the three authorities"),
  log: LogConfig,
})
export type GatewayConfig = z.infer<typeof GatewayConfig>
