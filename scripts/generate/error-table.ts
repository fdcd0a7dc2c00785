import { ERROR_CODES } from "../../src/base/error-codes.ts"
import { code, table } from "./markdown.ts"

/** One row for each code of the closed list. */
export function errorTable(): string {
  return table(["code", "what happened", "retry?", "what to do"], Object.entries(ERROR_CODES).map(([name, { what, retryable, mend }]) =>
    [code(name), what, retryable ? "yes" : "no", mend]))
}
