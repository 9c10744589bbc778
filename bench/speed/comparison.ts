// Runs several subjects in turn (A B A B), so that other load on the machine slows all of them alike.

export const rounds = Number(process.env['PARLEY_BENCH_ROUNDS'] ?? 5)
/** V8 compiles during the first rounds; the more code a server has, the longer this takes. */
const warmUpRounds = 3

export class Comparison<Report> {
  readonly #reports = new Map<string, Report[]>()

  /** Runs the rounds. `runs` holds one function for each subject, by its name. */
  static async run<Report>(runs: ReadonlyMap<string, () => Promise<Report>>): Promise<Comparison<Report>> {
    const comparison = new Comparison<Report>()
    for (const name of runs.keys()) comparison.#reports.set(name, [])
    for (let round = 0; round < warmUpRounds; round += 1) for (const run of runs.values()) await run()
    for (let round = 0; round < rounds; round += 1)
      for (const [name, run] of runs) comparison.#reports.get(name)?.push(await run())
    return comparison
  }

  get names(): string[] {
    return [...this.#reports.keys()]
  }

  /** Returns the median of all rounds. NaN when there are none. */
  median(name: string, measure: (report: Report) => number): number {
    return medianOf(this.reports(name).map(measure))
  }

  /** Returns the median of the ratios of all rounds. */
  ratio(name: string, baseline: string, measure: (report: Report) => number): number {
    const baselines = this.reports(baseline)
    return medianOf(
      this.reports(name).map((report, round) => {
        const baselineReport = baselines[round]
        return baselineReport === undefined ? Number.NaN : measure(report) / measure(baselineReport)
      }),
    )
  }

  reports(name: string): readonly Report[] {
    return this.#reports.get(name) ?? []
  }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}
