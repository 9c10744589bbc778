// The seam to the place of a master. One locator serves all links to the same master.
import type { Address } from '../url.js'

/**
 * Finds the current master of one replication group. Its members describe a state: `onChange` only says that
 * the state may differ now.
 */
export interface Locator {
  /** The last known address of the master, kept while no server answers. Undefined: it was never known. */
  readonly address: Address | undefined
  /**
   * Why the address is unknown or cannot be verified, as text for logs and `/readyz`. Undefined when it is
   * known and verified.
   */
  readonly unavailableReason: string | undefined
  /**
   * A sentence for the operator when the master cannot be found as configured and waiting does not help: a
   * wrong name, a refused password.
   */
  readonly configError: string | undefined
  /**
   * The number of replicas that form a majority of the data nodes together with the master. Undefined: not
   * known yet. A replica that is down counts as a data node.
   */
  readonly waitReplicas: number | undefined
  /**
   * Asks the servers again: is `address` the master, and does none of them prepare a failover? Resolves with
   * false in doubt.
   */
  confirm(address: Address): Promise<boolean>
  /** No failover can have begun while the master was silent for less than this many milliseconds. */
  readonly failoverAfterMs: number
  /** Calls `listener` after each change of the address. Returns a function that removes the listener. */
  onChange(listener: () => void): () => void
  /** Keeps the address up to date until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}
