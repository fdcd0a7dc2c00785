import { codeOf, EkeyError } from "../../base/errors.ts"
import type { Secret } from "../../base/secret.ts"

/** Where the tenant's 256-bit root key is kept. */
export interface RootKeySource {
  /**
   * @returns the root key, owned by the caller; `null` only if there certainly is none.
   * @throws EkeyError ERR_FILE when there is something that can't be used as it is.
   */
  load(): Promise<Secret | null>
  /**
   * Makes a new random root key, durable before the promise resolves; never overwrites.
   * @returns the root key, owned by the caller.
   * @throws EkeyError ERR_FILE when there is one already, or it can't be kept.
   */
  create(): Promise<Secret>
}

/**
 * The root key for a store: the one that is kept or, for an empty store alone, a new one. Beside
 * ekeys a missing root key is never replaced: a new one could not open them, and would hide the loss.
 * @throws EkeyError ERR_ROOT_KEY when it is unusable, or missing and the store is not empty.
 */
export async function openRootKey(source: RootKeySource, storeIsEmpty: boolean): Promise<Secret> {
  const kept = await source.load().catch((cause: unknown) => {
    // Whatever is wrong with it, only the admin can mend it: the same as a missing one.
    throw codeOf(cause) === "ERR_FILE" && cause instanceof EkeyError ? new EkeyError("ERR_ROOT_KEY", cause.message, { cause }) : cause
  })
  if (kept) return kept
  if (!storeIsEmpty) throw new EkeyError("ERR_ROOT_KEY", "the root key is missing and the store is not empty")
  return source.create()
}
