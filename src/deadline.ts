// Waiting with a bound: deadlines that stay fair when the process stalls, and pauses and promises that a
// signal ends early. This file is a leaf (see errors.ts).

/**
 * Calls `callback` after `ms` milliseconds. Returns a function that cancels the call. After the event loop
 * stalls, timers fire before sockets are read, so the callback waits one more turn: data that arrived in time
 * is read before the deadline fires.
 */
export function onDeadline(ms: number, callback: () => void): () => void {
  let immediate: NodeJS.Immediate | undefined
  const timer = setTimeout(() => {
    immediate = setImmediate(callback)
  }, ms)
  return () => {
    clearTimeout(timer)
    clearImmediate(immediate)
  }
}

/** Resolves after `ms` milliseconds, or as soon as one of the signals is aborted. Never rejects. */
export function pause(ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    for (const signal of signals) {
      if (signal.aborted) end()
      else signal.addEventListener('abort', end)
    }
  })
}

/**
 * Settles as `promise` does, or rejects with the signal's reason when the signal is aborted first. The
 * promise itself is not stopped; its later result or error is ignored.
 */
export function abortable<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () =>
      reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
