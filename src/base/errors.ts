import { ERROR_CODES } from "./error-codes.ts"
import type { ErrorCode } from "./error-codes.ts"

/** The one error class of the product: callers branch on `code`, never on `message`. */
export class EkeyError extends Error {
  override readonly name = "EkeyError"
  readonly code: ErrorCode

  /** `message` is safe for peers: no key bytes, paths or tenant names. Detail goes in `cause`. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  /** Whether the same request may succeed later without anybody's help. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable
  }
}

/** The error's code, or `undefined` for errors that are not ours. */
export function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof EkeyError ? error.code : undefined
}

/**
 * What may be logged locally about an error: code, message and the chain of causes, never a stack
 * with arguments. Causes from vendors carry their own message only.
 */
export function describeError(error: unknown): { code?: ErrorCode; error: string; cause?: string } {
  if (!(error instanceof Error)) return { error: String(error) }
  const code = codeOf(error)
  const causes: string[] = []
  let cause = error.cause
  while (cause instanceof Error && causes.length < 4) {
    causes.push(cause.message)
    cause = cause.cause
  }
  return {
    ...(code === undefined ? {} : { code }),
    error: error.message,
    ...(causes.length === 0 ? {} : { cause: causes.join(": ") }),
  }
}
