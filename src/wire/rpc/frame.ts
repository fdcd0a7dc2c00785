import { z } from "zod"
import { EkeyError } from "../../base/errors.ts"
import { isErrorCode } from "../../base/error-codes.ts"

/** Request ids: an integer from 1 that the caller counts up, so a late answer can be told from a made-up one. */
const RequestId = z.int().min(1)

const RequestFrame = z.strictObject({ jsonrpc: z.literal("2.0"), id: RequestId, method: z.string().max(64), params: z.unknown() })
const ResultFrame = z.strictObject({ jsonrpc: z.literal("2.0"), id: RequestId, result: z.unknown() })
const ErrorFrame = z.strictObject({
  jsonrpc: z.literal("2.0"),
  id: RequestId.nullable(),
  error: z.strictObject({
    code: z.int(),
    message: z.string().max(1024),
    data: z.strictObject({ code: z.string().max(64), retryable: z.boolean() }),
  }),
})

export type Frame =
  | { readonly kind: "request"; readonly id: number; readonly method: string; readonly params: unknown }
  | { readonly kind: "result"; readonly id: number; readonly result: unknown }
  | { readonly kind: "error"; readonly id: number | null; readonly error: EkeyError }

/** JSON-RPC 2.0 section 5.1 codes for errors of the envelope; everything of ours is APPLICATION. */
const APPLICATION = -32000
const RPC_CODES: Readonly<Record<string, number>> = { ERR_FRAME: -32600, ERR_METHOD: -32601, ERR_PARAMS: -32602, ERR_INTERNAL: -32603 }

/**
 * Parses one text frame.
 * @throws EkeyError ERR_FRAME when it is no JSON-RPC 2.0 message of this protocol. Batches are not part of it.
 */
export function parseFrame(text: string): Frame {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new EkeyError("ERR_FRAME", "frame is not JSON", { cause })
  }
  if (typeof value !== "object" || value === null) throw new EkeyError("ERR_FRAME", "frame is not an object")
  if ("method" in value) {
    const request = RequestFrame.safeParse(value)
    if (request.success) return { kind: "request", id: request.data.id, method: request.data.method, params: request.data.params }
  } else if ("result" in value) {
    const result = ResultFrame.safeParse(value)
    if (result.success) return { kind: "result", id: result.data.id, result: result.data.result }
  } else {
    const failed = ErrorFrame.safeParse(value)
    if (failed.success) return { kind: "error", id: failed.data.id, error: toError(failed.data.error) }
  }
  throw new EkeyError("ERR_FRAME", "frame is not a JSON-RPC 2.0 message of this protocol")
}

/** A peer's error becomes ours by its code; a code that this version does not know is a defect of one end. */
function toError(error: { message: string; data: { code: string } }): EkeyError {
  const { code } = error.data
  return isErrorCode(code) ? new EkeyError(code, error.message) : new EkeyError("ERR_INTERNAL", `peer answered with the unknown code ${code}`)
}

export function requestFrame(id: number, method: string, params: unknown): string {
  return `{"jsonrpc":"2.0","id":${String(id)},"method":"${method}","params":${JSON.stringify(params)}}`
}

export function resultFrame(id: number, result: unknown): string {
  return `{"jsonrpc":"2.0","id":${String(id)},"result":${JSON.stringify(result)}}`
}

export function errorFrame(id: number | null, error: EkeyError): string {
  return JSON.stringify({
    jsonrpc: "2.0",
    id,
    error: { code: RPC_CODES[error.code] ?? APPLICATION, message: error.message.slice(0, 1024), data: { code: error.code, retryable: error.retryable } },
  })
}
