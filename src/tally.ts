// Counts on paths that every message takes: plain numbers, which metrics read when they are scraped. Looking a series up by its labels each
// time was a twentieth of what a publish costs. Leaf: imports nothing of ours.

export class Tally {
  #total = 0

  get total(): number {
    return this.#total
  }

  add(count = 1): void {
    this.#total += count
  }
}

/** Commands answered, by door, command and result. */
export class CommandTally {
  readonly #byDoor = new Map<string, Map<string, Map<string, Tally>>>()

  add(door: string, command: string, result: string): void {
    let byCommand = this.#byDoor.get(door)
    if (!byCommand) this.#byDoor.set(door, (byCommand = new Map()))
    let byResult = byCommand.get(command)
    if (!byResult) byCommand.set(command, (byResult = new Map()))
    let tally = byResult.get(result)
    if (!tally) byResult.set(result, (tally = new Tally()))
    tally.add()
  }

  *read(): Iterable<{ door: string; command: string; result: string; total: number }> {
    for (const [door, byCommand] of this.#byDoor) {
      for (const [command, byResult] of byCommand)
        for (const [result, { total }] of byResult) yield { door, command, result, total }
    }
  }
}
