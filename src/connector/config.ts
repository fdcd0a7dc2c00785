import { z } from "zod"
import { CloudConfig, ConfigPath, LogConfig } from "../wire/config.ts"
import { PolicyConfig } from "./policy.ts"

/** `connector.yaml`. Unknown settings are refused. */
export const ConnectorConfig = z.strictObject({
  cloud: CloudConfig,
  data: ConfigPath.describe("folder of the identity and the vault; only the service's account may enter it"),
  rootKey: z.strictObject({
    source: z.literal("file").describe("file: the root key is a file of its own"),
    file: ConfigPath.describe("mode 0600; made at the first start with an empty vault"),
  }).describe("where the key is that seals the vault"),
  policy: PolicyConfig,
  log: LogConfig,
})
export type ConnectorConfig = z.infer<typeof ConnectorConfig>
