import { z } from "zod"

/**
 * A record of values by name that refuses every name it does not know. `z.record` alone drops a
 * `__proto__` key in silence; on this wire nothing is dropped.
 */
export function namedValues<K extends z.ZodType<string, string>, V extends z.ZodType>(name: K, value: V) {
  return z.preprocess((given, context) => {
    if (typeof given === "object" && given !== null && Object.hasOwn(given, "__proto__")) {
      context.issues.push({ code: "unrecognized_keys", keys: ["__proto__"], input: { ...given }, continue: false })
    }
    return given
  }, z.record(name, value))
}
