// Who waits for a place until Redis has answered, and for how long: then this gateway decides alone.
import { onDeadline } from '../../deadline.js'
import type { RedisLink } from '../../redis/link.js'
import type { Ask, RedisLease } from './lease.js'
import type { Admission } from '../ledger.js'

/** More than so many need not wait: Redis does not keep up. */
const waitingMax = 50_000

/** Questions for one tenant's places under the same limits, in their order: Redis answers them together. */
export interface Asks extends Pick<Ask, 'lease' | 'limits' | 'take'> {
  readonly all: Ask[]
}

export class WaitingAsks {
  readonly #link: RedisLink
  readonly #nowMs: () => number
  readonly #askMs: number
  /** Not answered, the oldest first; also those under way. */
  readonly #waiting = new Set<Ask>()
  #unsent: Ask[] = []
  /** One has waited in vain since the link was last open: others need not try the same. */
  #away = false
  #cancelTimer: (() => void) | undefined

  constructor(options: { link: RedisLink; nowMs: () => number; askMs: number }) {
    this.#link = options.link
    this.#nowMs = options.nowMs
    this.#askMs = options.askMs
    this.#link.onOpen(() => {
      this.#away = false
    })
  }

  get unsent(): number {
    return this.#unsent.length
  }

  submit(ask: Ask): void {
    const inVain = (this.#away && !this.#link.current) || this.#waiting.size >= waitingMax
    this.#waiting.add(ask)
    if (inVain) return this.decideAlone(ask)
    this.#unsent.push(ask)
    this.#watch()
  }

  /** At most `max`; those that are answered already are left out. */
  takeUnsent(max: number): Ask[] {
    return this.#unsent.splice(0, max).filter((ask) => this.#waiting.has(ask))
  }

  /** It is to be sent once more, if it still waits by then. */
  again(ask: Ask): void {
    this.#unsent.push(ask)
  }

  waits(ask: Ask): boolean {
    return this.#waiting.has(ask)
  }

  answer(ask: Ask, admission: Admission): void {
    if (this.#waiting.delete(ask)) ask.answer(admission)
  }

  decideAlone(ask: Ask): void {
    if (this.#waiting.delete(ask)) ask.answer(ask.lease.decideAlone(ask))
  }

  /** Redis answers, but not this. */
  decideUnsent(): void {
    for (const ask of this.#unsent.splice(0)) this.decideAlone(ask)
  }

  close(): void {
    this.#cancelTimer?.()
    for (const ask of this.#waiting) this.decideAlone(ask)
  }

  /** One timer, for the oldest. */
  #watch(): void {
    const [oldest] = this.#waiting
    if (!oldest || this.#cancelTimer) return
    const waitMs = Math.max(0, oldest.sinceMs + this.#askMs - this.#nowMs())
    this.#cancelTimer = onDeadline(Math.ceil(waitMs), () => {
      this.#cancelTimer = undefined
      const lateMs = this.#nowMs() - this.#askMs
      for (const ask of this.#waiting) {
        if (ask.sinceMs > lateMs) break
        this.#away = true
        this.decideAlone(ask)
      }
      this.#watch()
    })
  }
}

/** Each tenant's stay in order; at most `max` together. */
export function together(asks: readonly Ask[], max: number): Asks[] {
  const groups: Asks[] = []
  const last = new Map<RedisLease, Asks>()
  for (const ask of asks) {
    const { lease, limits, take } = ask
    const group = last.get(lease)
    if (group && group.limits === limits && group.take === take && group.all.length < max) {
      group.all.push(ask)
      continue
    }
    const opened = { lease, limits, take, all: [ask] }
    last.set(lease, opened)
    groups.push(opened)
  }
  return groups
}
