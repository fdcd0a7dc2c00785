import { backoffMs, jitterMs } from "../../base/backoff.ts"

/** Where a dialling end is. Pure data: the driver owns the socket and the clock. */
export type LinkState =
  | { readonly at: "waiting"; readonly attempt: number; readonly because: "lost" | "rejected" }
  | { readonly at: "dialing"; readonly attempt: number }
  | { readonly at: "ready"; readonly attempt: number }
  | { readonly at: "stopped" }

export type LinkEvent =
  /** The wait is over. */
  | { readonly type: "due" }
  /** Connected, judged and greeted. */
  | { readonly type: "opened" }
  /** A ready link ended. `stable`: it had lasted for STABLE_AFTER_MS. */
  | { readonly type: "lost"; readonly stable: boolean }
  /** No link came about. `rejected`: one end does not accept the other's identity. */
  | { readonly type: "failed"; readonly rejected: boolean }
  | { readonly type: "stop" }

/** A link that lasted this long counts as good: the next loss starts from the shortest wait. */
export const STABLE_AFTER_MS = 60_000

const LOST = { baseMs: 1_000, capMs: 60_000 }
const REJECTED = { baseMs: 30_000, capMs: 15 * 60_000, spread: 0.2 }

export const INITIAL: LinkState = { at: "dialing", attempt: 0 }

export function nextState(state: LinkState, event: LinkEvent): LinkState {
  switch (event.type) {
    case "stop":
      return { at: "stopped" }
    case "due":
      return state.at === "waiting" ? { at: "dialing", attempt: state.attempt } : state
    case "opened":
      return state.at === "dialing" ? { at: "ready", attempt: state.attempt } : state
    case "lost":
      // A link that opens and drops at once must keep backing off, so only a stable one resets.
      return state.at === "ready" ? { at: "waiting", attempt: event.stable ? 0 : state.attempt + 1, because: "lost" } : state
    case "failed":
      return state.at === "dialing" ? { at: "waiting", attempt: state.attempt + 1, because: event.rejected ? "rejected" : "lost" } : state
    default:
      return event satisfies never
  }
}

/** How long to wait before the next dial. `random` returns [0, 1). */
export function waitMs(state: Extract<LinkState, { at: "waiting" }>, random: () => number): number {
  if (state.because === "lost") return backoffMs(Math.max(0, state.attempt - 1), LOST, random)
  // A rejected identity may be mended by an admin at any time: never give up, and never storm.
  return jitterMs(Math.min(REJECTED.capMs, REJECTED.baseMs * 2 ** Math.min(state.attempt - 1, 30)), REJECTED.spread, random)
}
