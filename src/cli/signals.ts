// SIGTERM and SIGINT: the first one starts a graceful stop, the second one ends the process immediately.

/**
 * Resolves at the first SIGTERM or SIGINT. A second one ends the process immediately, with exit code 128 +
 * the signal's number.
 */
export function untilSignal(host: NodeJS.Process): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false
    const on = (exitCode: number) => (): void => {
      if (isStopping) host.exit(exitCode)
      isStopping = true
      resolve()
    }
    host.on('SIGTERM', on(143))
    host.on('SIGINT', on(130))
  })
}
