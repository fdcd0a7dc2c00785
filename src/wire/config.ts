import { z } from "zod"
import { LOG_LEVELS } from "../base/log-level.ts"
import { codeOf } from "../base/errors.ts"
import { parseGatewayUrl } from "./link/tls.ts"

/** A path; relative ones are relative to the config file. */
export const ConfigPath = z.string().min(1).max(1024)

export const GatewayUrl = z.string().max(256).refine((url) => {
  try {
    parseGatewayUrl(url)
    return true
  } catch (error) {
    if (codeOf(error) === "ERR_CONFIG") return false
    throw error
  }
}, "must be a wss:// URL without path or credentials, for example wss://gateway.example.com:7400")

export const LogConfig = z.strictObject({
  level: z.enum(LOG_LEVELS).default("info").describe("the least that is logged: debug (which also names every release), info, warn or error"),
}).prefault({}).describe("what is logged, as JSON lines on stdout")

/** Settings of everybody who dials the gateway. */
export const CloudConfig = z.strictObject({ url: GatewayUrl.describe("the gateway, wss://host[:port]") }).describe("how the cloud is reached")
