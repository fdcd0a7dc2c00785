export interface BackoffPolicy {
  readonly baseMs: number
  readonly capMs: number
}

/** Exponential backoff with full jitter. `random` returns [0, 1). */
export function backoffMs(attempt: number, policy: BackoffPolicy, random: () => number): number {
  const ceilingMs = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(attempt, 30))
  return Math.floor(random() * ceilingMs)
}

/** `ms` spread evenly by ±`fraction`, so that a fleet does not act in step. */
export function jitterMs(ms: number, fraction: number, random: () => number): number {
  return Math.round(ms * (1 - fraction + 2 * fraction * random()))
}
