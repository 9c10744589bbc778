// Remembers the key ids that a fetched set did not have. A provider may sign with a new key shortly before it
// publishes it, so one set does not prove that there is no such key: a second one does, which was fetched
// `confirmMs` later. Anybody can invent key ids, so each is looked for rarely, and few are remembered.

/** The least time between the two fetches that prove that there is no such key. The proof holds as long. */
export const confirmMs = 30_000
/** A key id that nobody asked for again within this time begins anew. */
const forgetMs = 600_000
const rememberedMax = 1_000

interface Absence {
  /** When the first fetch began whose set did not have the key. */
  readonly sinceMs: number
  /** When the fetch began that proved it. */
  readonly provenMs?: number
}

export class UnknownKeys {
  /** In the order in which they were first asked for. */
  readonly #absences = new Map<string, Absence>()

  /** Returns `unknown` when there is provably no such key, or the milliseconds until a fetch may help. */
  check(id: string, nowMs: number): 'unknown' | number {
    const absence = this.#current(id, nowMs)
    if (!absence) return 0
    if (absence.provenMs !== undefined) return 'unknown'
    return Math.max(0, absence.sinceMs + confirmMs - nowMs)
  }

  /**
   * Records that the set whose fetch began at `fetchMs` does not have the key. Returns `unknown` when this
   * proves that there is none, or the milliseconds until another fetch may prove it; at least 1.
   */
  absent(id: string, { fetchMs, nowMs }: { fetchMs: number; nowMs: number }): 'unknown' | number {
    const { sinceMs = fetchMs } = this.#current(id, nowMs) ?? {}
    const [oldest] = this.#absences.keys()
    if (!this.#absences.has(id) && this.#absences.size >= rememberedMax && oldest !== undefined)
      this.#absences.delete(oldest)
    if (fetchMs - sinceMs >= confirmMs) {
      this.#absences.set(id, { sinceMs, provenMs: fetchMs })
      return 'unknown'
    }
    this.#absences.set(id, { sinceMs })
    return Math.max(1, sinceMs + confirmMs - nowMs)
  }

  #current(id: string, nowMs: number): Absence | undefined {
    const absence = this.#absences.get(id)
    if (!absence) return undefined
    const { provenMs, sinceMs } = absence
    const endMs = provenMs === undefined ? sinceMs + forgetMs : provenMs + confirmMs
    if (nowMs < endMs) return absence
    this.#absences.delete(id)
    return undefined
  }
}
