/** What one window of load showed. */
export interface Figures {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/**
 * The smallest sample that at least the share `q` of all samples does not exceed (nearest rank).
 * @param sorted ascending.
 * @param q above 0, at most 1.
 */
export function percentile(sorted: ArrayLike<number>, q: number): number {
  const rank = Math.max(1, Math.ceil(q * sorted.length))
  const value = sorted[rank - 1]
  if (value === undefined) throw new RangeError("there are no samples")
  return value
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]
  if (upper === undefined || lower === undefined) throw new RangeError("there are no samples")
  return (upper + lower) / 2
}

/** @param latenciesMs of the requests that were answered inside the window. */
export function figuresOf(latenciesMs: readonly number[], windowMs: number): Figures {
  const sorted = Float64Array.from(latenciesMs).sort()
  return { perSecond: sorted.length / windowMs * 1000, p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) }
}

/** The median of each figure over all rounds: one disturbed round does not move it. */
export function medianFigures(rounds: readonly Figures[]): Figures {
  return {
    perSecond: median(rounds.map(({ perSecond }) => perSecond)),
    p50Ms: median(rounds.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(rounds.map(({ p99Ms }) => p99Ms)),
  }
}
