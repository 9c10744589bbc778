// How far a catalog has come. A gateway goes only forward.

/**
 * `epoch` is one life of the catalog, begun by a complete snapshot whenever it cannot be proven that the last life goes on: always by a new
 * leader. It is a number that only grows, in steps of about a millisecond. `n` counts the changes within it.
 */
export interface CatalogVersion {
  readonly epoch: number
  readonly n: number
}

/** Negative: `a` is the older one. */
export function compareVersions(a: CatalogVersion, b: CatalogVersion): number {
  return a.epoch - b.epoch || a.n - b.n
}

/** Has whoever applied `applied` also applied `wanted`? */
export function hasReached(applied: CatalogVersion | undefined, target: CatalogVersion): boolean {
  return applied !== undefined && compareVersions(applied, target) >= 0
}

export function versionText({ epoch, n }: CatalogVersion): string {
  return `${epoch}/${n}`
}
