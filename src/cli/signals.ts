// SIGTERM and SIGINT: the first one starts a graceful end, the second one ends the process at once.

/**
 * Resolves at the first SIGTERM or SIGINT. A second one ends the process at once, with 128 + the signal's
 * number.
 */
export function untilSignal(host: NodeJS.Process): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    const on = (exitCode: number) => (): void => {
      if (asked) host.exit(exitCode)
      asked = true
      resolve()
    }
    host.on('SIGTERM', on(143))
    host.on('SIGINT', on(130))
  })
}
