// The version of a catalog. A gateway never returns to an older version.

/**
 * `epoch` identifies one incarnation of the catalog. A complete snapshot begins an epoch whenever the writer
 * cannot prove that Redis holds the continuation of the last one, and always after a change of leader. Epochs
 * only grow, in steps of about a millisecond. `n` counts the changes within an epoch.
 */
export interface CatalogVersion {
  readonly epoch: number
  readonly n: number
}

/** Compares two versions for sorting: the result is negative when `a` is older than `b`. */
export function compareVersions(a: CatalogVersion, b: CatalogVersion): number {
  return a.epoch - b.epoch || a.n - b.n
}

/** Returns whether a gateway that has applied `applied` has also applied `target`. */
export function hasReached(applied: CatalogVersion | undefined, target: CatalogVersion): boolean {
  return applied !== undefined && compareVersions(applied, target) >= 0
}

/** Formats a version for logs and messages, as `<epoch>/<n>`. */
export function versionText({ epoch, n }: CatalogVersion): string {
  return `${epoch}/${n}`
}
