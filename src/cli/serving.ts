// Serves clients until the process is asked to end, then drains the gateway.
import { setTimeout as sleep } from 'node:timers/promises'
import { drain } from '../gateway/fleet/drain.js'
import type { Gateway } from '../gateway/gateway.js'
import type { GatewayServer } from '../gateway/http/server.js'
import type { FilesCatalog } from '../catalog/files.js'
import { fileProblemText } from '../resources/problem.js'

export interface Serving {
  readonly gateway: Gateway
  readonly server: GatewayServer
  /** Milliseconds over which the sessions are closed; their clients reconnect to other gateways. */
  readonly drainWindowMs: number
  /** Called when draining begins. */
  readonly onDrain?: () => void
}

/**
 * Serves until `stopRequested` resolves. Resolves when the last session is closed and the clients' port is
 * closed.
 */
export async function serveUntil(
  stopRequested: Promise<void>,
  { drainWindowMs, gateway, onDrain, server }: Serving,
): Promise<void> {
  await stopRequested
  gateway.startDraining()
  onDrain?.()
  await drain(gateway.context, { windowMs: drainWindowMs, sleep })
  // The last close frames may not have been sent yet.
  await server.close({ graceMs: 1_000 })
}

/** Prints each problem of the manifests on standard error: now, and after each reload when it is new. */
export function showProblems(catalog: FilesCatalog): void {
  let shown: readonly string[] = []
  const show = (): void => {
    const sentences = catalog.problems.map(fileProblemText)
    for (const sentence of sentences)
      if (!shown.includes(sentence)) process.stderr.write(`parley: ${sentence}\n`)
    // The user who is correcting a file waits for this.
    if (shown.length > 0 && sentences.length === 0)
      process.stderr.write('parley: all manifests are valid again\n')
    shown = sentences
  }
  catalog.onReload(show)
  show()
}
