// Several subjects in turn, A B A B: a machine that others share is slow for all of them or for none.

export const rounds = Number(process.env['PARLEY_BENCH_ROUNDS'] ?? 5)
/** V8 compiles meanwhile: the more code a server has, the longer. */
const uncountedRounds = 3

export class Contest<Report> {
  readonly #reports = new Map<string, Report[]>()

  /** `turns` by subject. */
  static async held<Report>(turns: ReadonlyMap<string, () => Promise<Report>>): Promise<Contest<Report>> {
    const contest = new Contest<Report>()
    for (const name of turns.keys()) contest.#reports.set(name, [])
    for (let round = 0; round < uncountedRounds; round += 1) for (const turn of turns.values()) await turn()
    for (let round = 0; round < rounds; round += 1)
      for (const [name, turn] of turns) contest.#reports.get(name)?.push(await turn())
    return contest
  }

  get names(): string[] {
    return [...this.#reports.keys()]
  }

  median(name: string, measure: (report: Report) => number): number {
    return medianOf(this.reports(name).map(measure))
  }

  /** Round by round, then the median. */
  ratio(name: string, floor: string, measure: (report: Report) => number): number {
    const floors = this.reports(floor)
    return medianOf(
      this.reports(name).map((report, round) => {
        const beside = floors[round]
        return beside === undefined ? Number.NaN : measure(report) / measure(beside)
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
