// Runs tasks that belong together: when one of them ends, all of them end.

/**
 * Runs the tasks until `signal` aborts or one task settles, which aborts the signal of the others. Resolves
 * when all tasks have settled; rejects then with the first failure.
 */
export async function runTaskGroup(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const stop = new AbortController()
  const ending = AbortSignal.any([signal, stop.signal])
  const failures: unknown[] = []
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(ending)
      } catch (error) {
        failures.push(error)
      }
      stop.abort()
    }),
  )
  if (failures.length > 0) throw failures[0]
}

/** Resolves when the signal aborts, or immediately if it has aborted already. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
