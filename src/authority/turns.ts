/** Runs asynchronous work one at a time, in the order of the calls; a failure holds up nobody. */
export function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const turn = last.then(work)
    last = turn.catch(() => undefined) // Its caller hears of it.
    return turn
  }
}
