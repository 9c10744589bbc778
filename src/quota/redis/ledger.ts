// Quotas of a cluster, in Redis. Connections are counted there, exactly; rates are divided once a second, and no publish asks anybody.
import { randomUUID } from 'node:crypto'
import type { Log } from '../../log.js'
import {
  RedisUnavailableError,
  UnknownOutcomeError,
  type LiveRedis,
  type RedisLink,
} from '../../redis/link.js'
import { Rounds } from '../../redis/batch-runner.js'
import { addScript, loadScripts } from '../../redis/scripts.js'
import type { Clock } from '../../time.js'
import { together, WaitingAsks, type Asks } from './admissions.js'
import { LedgerCalls, type Call } from './calls.js'
import { RedisLease, type Ask, type LeaseDesk } from './lease.js'
import { ledgerScripts, usersPerAskMax, usersPerWriteMax } from './scripts.js'
import type { LeaseListener, QuotaLedger, TenantLease } from '../ledger.js'

export interface LedgerTiming {
  /** A gateway's turn: it is counted, and its rates are divided. */
  readonly turnMs: number
  /** Places end so long after they were last written: what a killed gateway held is free then. */
  readonly placesTtlMs: number
  /** How often all places are written again. */
  readonly refreshMs: number
  /** For an admission; then this gateway decides alone. */
  readonly askMs: number
  /** A Redis that has forgotten is told again by every gateway within this. */
  readonly settleMs: number
}

const defaultTiming: LedgerTiming = {
  turnMs: 1_000,
  placesTtlMs: 25_000,
  refreshMs: 8_000,
  askMs: 1_000,
  settleMs: 2_000,
}

export interface RedisLedgerOptions {
  /** Prepared with `loadLedgerScripts`. Its owner ends it, after `close()`. */
  readonly link: RedisLink
  readonly clock: Clock
  readonly log: Log
  /** Whose gateways share the quotas. */
  readonly installation: string
  readonly timing?: Partial<LedgerTiming>
}

/** How a link is prepared for a `RedisLedger`. */
export async function loadLedgerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, ledgerScripts)
}

/** Of one pipeline. */
const asksMax = 500
const usersMax = 2_000
const exchangesMax = 500

/**
 * Admissions of a tenant are one script, sent together with others of the same turn of the event loop; so are places given back. One
 * pipeline is under way at a time: what a write says is how things are when it is sent. While Redis is away each gateway admits up to its equal part of
 * the tenant's places, and keeps what it holds above that; shares hold for 5 s, and are equal then.
 */
export class RedisLedger implements QuotaLedger {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #log: Log
  readonly #timing: LedgerTiming
  readonly #calls: LedgerCalls
  readonly #asks: WaitingAsks
  readonly #desk: LeaseDesk
  readonly #leases = new Map<string, RedisLease>()
  readonly #unwritten = new Set<RedisLease>()
  readonly #untold = new Set<RedisLease>()
  /** The connection on which this gateway has counted itself last. */
  #counted: LiveRedis | undefined
  #countDue = true
  #gateways = 1
  /** Until then Redis may not know all. */
  #settledMs = -Infinity
  readonly #rounds: Rounds
  /** Nothing can be sent, or trying at once will not help: until the link opens, or the next turn. */
  #stuck = false

  constructor({ clock, installation, link, log, timing }: RedisLedgerOptions) {
    this.#link = link
    this.#clock = clock
    this.#log = log
    this.#timing = { ...defaultTiming, ...timing }
    const { askMs, placesTtlMs } = this.#timing
    // A life of its own: nothing that an earlier one left is taken for its own.
    this.#calls = new LedgerCalls({ gatewayId: randomUUID(), installation, placesTtlMs })
    const nowMs = (): number => clock.monotonicMs()
    this.#asks = new WaitingAsks({ link, nowMs, askMs })
    this.#rounds = new Rounds({
      waiting: () => (this.#stuck ? 0 : this.#due),
      round: () => this.#round(),
      failed: (error) => {
        this.#stuck = true
        log.error({ err: error }, 'quotas cannot be told to Redis')
      },
    })
    this.#desk = {
      nowMs,
      gateways: () => this.#gateways,
      submit: (ask) => {
        this.#asks.submit(ask)
        this.#kick()
      },
      toWrite: (lease) => {
        this.#unwritten.add(lease)
        this.#kick()
      },
      toExchange: (lease) => {
        this.#untold.add(lease)
        this.#kick()
      },
    }
    link.onOpen(() => {
      for (const lease of this.#leases.values()) lease.repeat({ afresh: true })
      this.#kick()
    })
  }

  /** Gateways of the installation, as last known. */
  get gateways(): number {
    return this.#gateways
  }

  /** A lease of the same tenant that was closed goes on, with what it still holds. */
  open(tenantId: string, listener: LeaseListener): TenantLease {
    const existing = this.#leases.get(tenantId)
    if (existing) {
      existing.listener = listener
      return existing
    }
    const lease = new RedisLease(tenantId, { desk: this.#desk, listener })
    this.#leases.set(tenantId, lease)
    return lease
  }

  /** Takes its turns until `signal` ends it. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => void this.turn(), this.#timing.turnMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /** Resolves when all that is due has been sent and answered, or nothing can be sent. Never rejects. */
  async turn(): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    this.#countDue = true
    for (const [tenantId, lease] of this.#leases) {
      if (lease.done) {
        this.#leases.delete(tenantId)
        continue
      }
      if (nowMs - lease.refreshedMs >= this.#timing.refreshMs && lease.held > 0)
        lease.repeat({ afresh: false })
      if (lease.turnRates(nowMs)) this.#untold.add(lease)
      if (lease.rates.forget(nowMs)) lease.listener?.sharesChanged()
    }
    this.#kick()
    await this.#rounds.idle()
  }

  /** What was given back is told, as far as Redis is there. The gateway has drained before. */
  async close(): Promise<void> {
    this.#kick()
    await this.#rounds.idle()
    this.#asks.close()
  }

  // ——— The way to Redis ———

  #kick(): void {
    this.#stuck = false
    this.#rounds.begin()
  }

  /** How much waits: as much as asks, since who asks is waited for. */
  get #due(): number {
    const other = this.#countDue || this.#unwritten.size > 0 || this.#untold.size > 0
    return Math.max(this.#asks.unsent, other ? 1 : 0)
  }

  async #round(): Promise<void> {
    const live = this.#link.current
    this.#stuck = !live || !(await this.#send(live, this.#collect(live)))
  }

  #collect(live: LiveRedis): Call[] {
    // Whether this Redis remembers is known only after the first count.
    const mayAsk = this.#counted === live
    const calls = this.#countDue || !mayAsk ? [this.#count(live)] : []
    const asks = mayAsk ? this.#takeAsks() : []
    const asking = together(asks, usersPerAskMax).map((some) => this.#ask(some))
    return [...calls, ...this.#write(asks), ...asking, ...this.#exchange()]
  }

  /** False: something went wrong, and trying again at once will not help. */
  async #send(live: LiveRedis, calls: readonly Call[]): Promise<boolean> {
    const pipeline = live.client.pipeline()
    for (const { args, keys, script } of calls) addScript(pipeline, script, { keys, args })
    let replies: readonly unknown[]
    try {
      replies = await live.run(pipeline)
    } catch (error) {
      for (const call of calls) call.lost()
      if (error instanceof RedisUnavailableError || error instanceof UnknownOutcomeError) return false
      throw error
    }
    let refused: unknown
    calls.forEach((call, index) => {
      const reply = replies[index]
      try {
        if (reply instanceof Error) throw reply
        call.take(reply)
      } catch (error) {
        refused ??= error
        call.lost()
      }
    })
    return refused === undefined || this.#refused(live, refused)
  }

  #refused(live: LiveRedis, error: unknown): false {
    // It was thrown away for that: the next connection is to where the books are.
    if (live.lost.aborted) return false
    if (error instanceof Error && /^(NOSCRIPT|READONLY)/.test(error.message)) {
      // Demoted, or without its scripts: the next connection is to another, or brings them.
      live.discard('it refused the scripts of quotas')
      return false
    }
    this.#log.warn({ err: error }, 'Redis does not count quotas; it is tried again')
    this.#asks.decideUnsent()
    return false
  }

  // ——— What is sent ———

  #count(live: LiveRedis): Call {
    this.#countDue = false
    return this.#calls.count({
      heard: ({ gateways, known }) => {
        const forgotten = !known && this.#counted !== undefined
        if (forgotten && this.#counted !== live)
          this.#settledMs = this.#clock.monotonicMs() + this.#timing.settleMs
        this.#counted = live
        this.#setGateways(this.#settling ? Math.max(gateways, this.#gateways) : gateways)
      },
      lost: () => void (this.#countDue = true),
    })
  }

  #setGateways(gateways: number): void {
    if (gateways === this.#gateways) return
    this.#gateways = gateways
    for (const lease of this.#leases.values()) lease.listener?.sharesChanged()
  }

  /** Redis came back without its memory, and others may not have told it yet what they hold: nobody takes more than an equal part. */
  get #settling(): boolean {
    return this.#clock.monotonicMs() < this.#settledMs
  }

  #takeAsks(): Ask[] {
    const asks = this.#asks.takeUnsent(asksMax)
    if (!this.#settling) return asks
    const before = new Map<RedisLease, number>()
    return asks.filter((ask) => {
      const asked = before.get(ask.lease) ?? 0
      const refusal = ask.lease.refusalAlone(ask, asked)
      if (refusal) this.#asks.answer(ask, refusal)
      else before.set(ask.lease, asked + 1)
      return !refusal
    })
  }

  #ask(some: Asks): Call {
    const { all, lease, take } = some
    if (take) lease.asked()
    return this.#calls.ask(some, {
      heard: ({ elsewhere, refusals }) => {
        lease.heardOf({ elsewhere })
        for (const [which, ask] of all.entries()) {
          const admission = refusals.get(which) ?? { admitted: true }
          if (take && admission.admitted) this.#take(ask)
          this.#asks.answer(ask, admission)
        }
      },
      lost: () => {
        for (const ask of all) {
          if (take) lease.givenInVain(ask.user)
          this.#asks.again(ask)
        }
      },
    })
  }

  #take(ask: Ask): void {
    if (this.#asks.waits(ask)) ask.lease.given(ask.user)
    else ask.lease.givenInVain(ask.user)
  }

  /** What is asked next to must be right: whoever asks comes first, and each lease's count is written whole. */
  #write(asks: readonly Ask[]): Call[] {
    const askers = new Map<RedisLease, string[]>()
    for (const { lease, user } of asks) {
      if (!this.#unwritten.has(lease)) continue
      const users = askers.get(lease)
      if (users) users.push(user)
      else askers.set(lease, [user])
    }
    const calls: Call[] = []
    let left = usersMax
    for (const lease of new Set([...askers.keys(), ...this.#unwritten])) {
      const first = askers.get(lease) ?? []
      if (left <= 0 && first.length === 0) break
      const part = lease.takePart(Math.max(first.length, Math.min(left, usersPerWriteMax)), first)
      // A lease is some work, also one without users.
      left -= Math.max(10, part.users.length)
      if (!lease.unwritten) this.#unwritten.delete(lease)
      const lost = (): void => {
        lease.lost(part)
        this.#unwritten.add(lease)
      }
      calls.push(this.#calls.write(lease, { part, lost, heard: (others) => lease.heardOf(others) }))
    }
    return calls
  }

  #exchange(): Call[] {
    const leases = [...this.#untold].slice(0, exchangesMax)
    for (const lease of leases) this.#untold.delete(lease)
    return leases.map((lease) => {
      const equalPart = 1 / this.#gateways
      return this.#calls.exchange(lease, {
        equalPart,
        heard: (answer) => {
          const shareMax = this.#settling ? equalPart : 1
          const nowMs = this.#clock.monotonicMs()
          const delivered = lease.rates.answered(answer, { nowMs, shareMax })
          lease.listener?.sharesChanged()
          if (delivered > 0) lease.listener?.deliveredElsewhere(delivered)
        },
        // The next turn tells it anew.
        lost: () => {},
      })
    })
  }
}
