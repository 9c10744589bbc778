// The seam of this folder (`topology/`), which finds the masters of Redis. One locator serves all links to
// the same master.
import type { Address } from '../url.js'

/**
 * Finds the current master of one replication group. Its members describe the current state; `onChange` only
 * reports that the state may have changed.
 */
export interface Locator {
  /**
   * The last known address of the master, which is kept while no server answers. Undefined until the address
   * is known.
   */
  readonly address: Address | undefined
  /**
   * The reason why the address is unknown or cannot be verified, as text for logs and `/readyz`. Undefined
   * when it is known and verified.
   */
  readonly unavailableReason: string | undefined
  /**
   * A message for the operator when the master cannot be found because of the configuration, for example a
   * wrong name or a wrong password. Waiting does not help then. Otherwise undefined.
   */
  readonly configError: string | undefined
  /**
   * The number of replicas that form a majority of the data nodes together with the master. Undefined while
   * the number is not known. A replica that is down counts as a data node.
   */
  readonly waitReplicas: number | undefined
  /**
   * Asks the servers again. Resolves with true when they confirm that `address` is the master and none of
   * them is preparing a failover, otherwise with false.
   */
  confirm(address: Address): Promise<boolean>
  /** The shortest silence of the master, in milliseconds, in which a failover can begin. */
  readonly failoverAfterMs: number
  /** Calls `listener` after each change of the address. Returns a function that removes the listener. */
  onChange(listener: () => void): () => void
  /** Keeps the address up to date until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}
