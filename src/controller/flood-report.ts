// Names the namespace that fills a work queue in the log, because metrics have no label for namespaces.
import { pause } from '../deadline.js'
import type { Log } from '../log.js'
import type { Clock } from '../time.js'

/** The part of a queue that the report needs. */
export interface ReportedQueue {
  readonly depth: number
  largestGroup(): { group: string; size: number } | undefined
}

export interface FloodReportOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly log: Pick<Log, 'warn'>
  readonly signal: AbortSignal
  /** Default: a timer; tests replace it. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
}

/** A shorter queue is worked off within seconds. */
const depthMin = 100
const checkMs = 5_000
/** A namespace is named at most this often, for each queue. */
const repeatMs = 300_000

/**
 * Checks the queues (by the name of their controller) until `signal` aborts, and logs a namespace to which
 * more than half of a long queue belongs.
 */
export async function reportFloods(
  queues: ReadonlyMap<string, ReportedQueue>,
  { clock, log, signal, pause: wait = pause }: FloodReportOptions,
): Promise<void> {
  const named = new Map<string, { namespace: string; atMs: number }>()
  while (!signal.aborted) {
    for (const [controller, queue] of queues) {
      const { depth } = queue
      const largest = depth < depthMin ? undefined : queue.largestGroup()
      if (!largest || largest.group === '' || largest.size * 2 <= depth) continue
      const { group: namespace, size: keys } = largest
      const nowMs = clock.monotonicMs()
      const before = named.get(controller)
      if (before?.namespace === namespace && nowMs - before.atMs < repeatMs) continue
      named.set(controller, { namespace, atMs: nowMs })
      log.warn(
        { controller, namespace, keys, depth },
        'one namespace fills the work queue: its objects wait, those of other namespaces take turns with them',
      )
    }
    await wait(checkMs, signal)
  }
}
