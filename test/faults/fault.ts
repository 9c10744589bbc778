/** One fault, in plain words. `run` ends with the oracle's judgement. Numbers are those of docs/faults.md; C is for a Cluster. */
export interface Fault {
  readonly number: number | `C${number}`
  readonly words: string
  /** Part of `npm test`. */
  readonly short?: boolean
  run(fault: string): Promise<void>
}

/** Publishing resumes so long after a master's death, with down-after 1 s. */
export const pauseBarMs = 4_000
