// Records what one client received in its room. The messages are numbered, so the record detects missing,
// repeated and reordered messages.

export class ReceivedLog {
  readonly owner: string
  /** Number of the last message; undefined before the first message and after a gap. */
  last: number | undefined
  /** Descriptions of all violations. */
  readonly problems: string[] = []
  /** For each loss of the room: the time until the client was back. */
  readonly resumesMs: number[] = []
  /** Number of notifications of a gap. */
  gapCount = 0
  #lostMs: number | undefined

  constructor(owner: string) {
    this.owner = owner
  }

  /** The time at which the room was lost; undefined while the client is in its room. */
  get lostMs(): number | undefined {
    return this.#lostMs
  }

  received(number: number): void {
    if (this.last !== undefined && number !== this.last + 1)
      this.problems.push(`${this.owner} received ${number} after ${this.last}`)
    this.last = number
  }

  lost(): void {
    this.#lostMs ??= performance.now()
  }

  /**
   * The client joined its room. `recovered`: it received everything that it missed; otherwise it was notified
   * of a gap.
   */
  joined(recovered: boolean): void {
    if (this.#lostMs !== undefined) this.resumesMs.push(performance.now() - this.#lostMs)
    this.#lostMs = undefined
    if (recovered) return
    this.gapCount += 1
    this.last = undefined
  }
}
