// What one fan saw of its room. A room's messages are numbered: whatever befalls the connections, each comes once, in order.

export class Thread {
  readonly who: string
  /** Number of the last message; undefined until the first one on which all others must follow. */
  last: number | undefined
  /** What must not be, in words. */
  readonly problems: string[] = []
  /** Of each time that the room was lost: how long until it was there again. */
  readonly resumesMs: number[] = []
  /** How often it was told that something is missing. */
  gapsTold = 0
  #lostMs: number | undefined

  constructor(who: string) {
    this.who = who
  }

  /** Undefined: it stands in its room. */
  get lostMs(): number | undefined {
    return this.#lostMs
  }

  received(number: number): void {
    if (this.last !== undefined && number !== this.last + 1)
      this.problems.push(`${this.who} got ${number} after ${this.last}`)
    this.last = number
  }

  lost(): void {
    this.#lostMs ??= performance.now()
  }

  /** In its room, with all that it missed (`whole`), or told that it has not. */
  joined(whole: boolean): void {
    if (this.#lostMs !== undefined) this.resumesMs.push(performance.now() - this.#lostMs)
    this.#lostMs = undefined
    if (whole) return
    this.gapsTold += 1
    this.last = undefined
  }
}
