// The second half of a gateway's life: its clients are served until somebody says stop, and then sent elsewhere in good order.
import { setTimeout as sleep } from 'node:timers/promises'
import { drain } from '../gateway/fleet/drain.js'
import type { Gateway } from '../gateway/gateway.js'
import type { GatewayServer } from '../gateway/http/server.js'
import type { FilesCatalog } from '../catalog/files.js'
import { fileProblemText } from '../resources/problem.js'

export interface Serving {
  readonly gateway: Gateway
  readonly server: GatewayServer
  /** Over how long sessions are sent away. */
  readonly drainWindowMs: number
  /** Called when it begins. */
  readonly onDrain?: () => void
}

/** Serves until `asked` resolves. Resolves when the last session has gone and the clients' port is closed. */
export async function serveUntil(
  asked: Promise<void>,
  { drainWindowMs, gateway, onDrain, server }: Serving,
): Promise<void> {
  await asked
  gateway.startDraining()
  onDrain?.()
  await drain(gateway.context, { windowMs: drainWindowMs, sleep })
  // Close frames may still be on their way.
  await server.close({ graceMs: 1_000 })
}

/** Prints each problem of the manifests on standard error, now and after each reload when it is new. */
export function showProblems(catalog: FilesCatalog): void {
  let shown: readonly string[] = []
  const show = (): void => {
    const sentences = catalog.problems.map(fileProblemText)
    for (const sentence of sentences)
      if (!shown.includes(sentence)) process.stderr.write(`parley: ${sentence}\n`)
    // Whoever is mending a file waits for this.
    if (shown.length > 0 && sentences.length === 0)
      process.stderr.write('parley: all manifests are good again\n')
    shown = sentences
  }
  catalog.onReload(show)
  show()
}
