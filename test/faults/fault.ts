// The interface of a fault, and targets that several faults share.

/**
 * One fault. `run` ends with the verification by the oracle. The numbers are those of docs/faults.md; C marks
 * faults of a Cluster.
 */
export interface Fault {
  readonly number: number | `C${number}`
  readonly title: string
  /** True for the faults that are part of `npm test`. Default: false. */
  readonly short?: boolean
  run(fault: string): Promise<void>
}

/** Target for the pause of publishing after the master fails, with down-after 1 s. */
export const pauseTargetMs = 4_000
