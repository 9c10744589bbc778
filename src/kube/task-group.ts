// Things that run at the same time and end together.

/**
 * Runs them until `signal` ends, or the first of them does, for whatever reason: that ends the others. Resolves when all have ended;
 * rejects then with the first failure.
 */
export async function together(
  signal: AbortSignal,
  runs: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const stop = new AbortController()
  const ending = AbortSignal.any([signal, stop.signal])
  const failures: unknown[] = []
  await Promise.all(
    runs.map(async (run) => {
      try {
        await run(ending)
      } catch (error) {
        failures.push(error)
      }
      stop.abort()
    }),
  )
  if (failures.length > 0) throw failures[0]
}

/** Resolves when the signal has ended. */
export function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
