import { z } from "zod"
import { CloudConfig, ConfigPath, LogConfig } from "../wire/config.ts"
import { namedValues } from "../wire/messages/named-values.ts"
import { Name } from "../wire/messages/scalars.ts"
import { JobDefinition } from "./job-definition.ts"

/** `worker.yaml`. Unknown settings are refused. */
export const WorkerConfig = z.strictObject({
  cloud: CloudConfig,
  data: ConfigPath.describe("folder of the identity; only the service's account may enter it"),
  environment: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/)).default([]).describe("names of the worker's own variables that jobs get as well"),
  jobs: namedValues(Name, JobDefinition).default({}).describe("what the cloud's scheduler may have run here, by name"),
  log: LogConfig,
})
export type WorkerConfig = z.infer<typeof WorkerConfig>
