// Chooses the locator for a URL that names one replication group. A Cluster has a ClusterMap instead.
import type { Log } from '../../log.js'
import type { SentinelTarget, StandaloneTarget } from '../url.js'
import { FixedLocator } from './fixed-locator.js'
import type { Locator } from './locator.js'
import type { PollTiming } from './poller.js'
import { SentinelLocator } from './sentinel.js'

export interface LocatorOptions {
  readonly log: Log
  /**
   * The number of data nodes, master and replicas together, as the operator configured it. Default: the
   * number that the Sentinels report; 1 for a standalone Redis.
   */
  readonly dataNodes?: number | undefined
  readonly sentinelTiming?: Partial<PollTiming> | undefined
}

/** Creates the locator of a standalone Redis or of a Sentinel set. */
export function createLocator(
  target: StandaloneTarget | SentinelTarget,
  { dataNodes, log, sentinelTiming }: LocatorOptions,
): Locator {
  return target.kind === 'sentinel'
    ? new SentinelLocator(target, { dataNodes, log, timing: sentinelTiming })
    : new FixedLocator(target, { dataNodes })
}
