// Quotas of a cluster, in Redis. Connections are counted there, exactly; rates are divided once a second, and no publish asks anybody.
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Log } from '../log.js'
import { onDeadline } from '../redis/deadline.js'
import { leaseKey, ledgerGatewaysKey } from '../redis/keys.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis, type RedisLink } from '../redis/live.js'
import { addScript, loadScripts, type Argument, type Script } from '../redis/scripts.js'
import type { Clock } from '../time.js'
import { RedisLease, type Ask, type LeaseDesk, type PlacesPart } from './quota-ledger-redis-lease.js'
import { shareTtlMs } from './quota-ledger-redis-rates.js'
import {
  countGateways,
  exchangeRates,
  ledgerScripts,
  lookForRoom,
  takePlace,
  usersPerWriteMax,
  writePlaces,
} from './quota-ledger-redis-scripts.js'
import type { LeaseListener, QuotaLedger, TenantLease } from './quota-ledger.js'

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

export const defaultLedgerTiming: LedgerTiming = {
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

/** More than so many need not wait for Redis: it does not keep up. */
const waitingMax = 50_000

/** Of one pipeline. */
const asksMax = 500
const usersMax = 2_000
const exchangesMax = 500

/** One script's run. */
interface Call {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
  /** Throws when the reply makes no sense. */
  take(reply: unknown): void
  /** Whether it happened is not known. */
  lost(): void
}

const text = z.instanceof(Buffer).transform(String)
const Verdict = z.tuple([text.pipe(z.enum(['admitted', 'tenant', 'user'])), z.number(), z.number()])
const Elsewhere = z.tuple([z.number()])
const Exchanged = z.tuple([text, text, text]).transform((texts) => texts.map(Number))
const Counted = z.tuple([z.number(), z.number()])

/**
 * An admission is one script, sent together with others of the same turn of the event loop; so are places given back. One pipeline is
 * under way at a time: what a write says is how things are when it is sent. While Redis is away each gateway admits up to its equal part of
 * the tenant's places, and keeps what it holds above that; shares hold for 5 s, and are equal then.
 */
export class RedisLedger implements QuotaLedger {
  readonly #options: RedisLedgerOptions
  readonly #timing: LedgerTiming
  /** Of this life of this gateway: nothing that an earlier one left is taken for its own. */
  readonly #id = randomUUID()
  readonly #desk: LeaseDesk
  readonly #leases = new Map<string, RedisLease>()
  /** Not answered, in order; also those under way. */
  readonly #asks = new Set<Ask>()
  #unsent: Ask[] = []
  readonly #unwritten = new Set<RedisLease>()
  readonly #untold = new Set<RedisLease>()
  /** Counted itself on this connection. */
  #counted: LiveRedis | undefined
  #countDue = true
  #gateways = 1
  #settledMs = -Infinity
  #everCounted = false
  /** An ask has waited in vain since the link was last open. */
  #away = false
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> | undefined

  constructor(options: RedisLedgerOptions) {
    this.#options = options
    this.#timing = { ...defaultLedgerTiming, ...options.timing }
    const gateways = (): number => this.#gateways
    const nowMs = (): number => options.clock.monotonicMs()
    this.#desk = {
      get gateways() {
        return gateways()
      },
      get nowMs() {
        return nowMs()
      },
      submit: (ask) => this.#submit(ask),
      toWrite: (lease) => this.#later(this.#unwritten, lease),
      toExchange: (lease) => this.#later(this.#untold, lease),
    }
    options.link.onOpen(() => this.#opened())
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

  /** Resolves when all that is due has been sent and answered, or nothing can be sent. */
  async turn(): Promise<void> {
    const nowMs = this.#desk.nowMs
    this.#countDue = true
    for (const [tenantId, lease] of this.#leases) {
      if (lease.done) {
        this.#leases.delete(tenantId)
        continue
      }
      if (lease.held > 0 && nowMs - lease.refreshedMs >= this.#timing.refreshMs)
        lease.repeat({ afresh: false })
      if (lease.rates.turn(nowMs)) this.#untold.add(lease)
      if (lease.rates.forget(nowMs)) lease.listener?.sharesChanged()
    }
    this.#kick()
    await this.#running
  }

  /** What was released is told, as far as Redis is there. The gateway has drained before. */
  async close(): Promise<void> {
    this.#kick()
    await this.#running
    this.#cancelTimer?.()
    for (const ask of this.#asks) this.#decideAlone(ask)
  }

  // ——— Asking ———

  #submit(ask: Ask): void {
    const inVain = this.#away && !this.#options.link.current
    const tooMany = this.#asks.size >= waitingMax
    this.#asks.add(ask)
    if (inVain || tooMany) return this.#decideAlone(ask)
    this.#unsent.push(ask)
    this.#watch()
    this.#kick()
  }

  #watch(): void {
    const [oldest] = this.#asks
    if (!oldest || this.#cancelTimer) return
    const waitMs = Math.max(0, oldest.sinceMs + this.#timing.askMs - this.#desk.nowMs)
    this.#cancelTimer = onDeadline(Math.ceil(waitMs), () => {
      this.#cancelTimer = undefined
      const lateMs = this.#desk.nowMs - this.#timing.askMs
      for (const ask of this.#asks) {
        if (ask.sinceMs > lateMs) break
        this.#away = true
        this.#decideAlone(ask)
      }
      this.#watch()
    })
  }

  #decideAlone(ask: Ask): void {
    if (this.#asks.delete(ask)) ask.answer(ask.lease.decideAlone(ask))
  }

  #answered(ask: Ask, reply: unknown): void {
    const { lease, take, user } = ask
    const [verdict, used, elsewhere] = Verdict.parse(reply)
    lease.heardOf({ elsewhere })
    const waits = this.#asks.delete(ask)
    if (verdict !== 'admitted') {
      if (waits) ask.answer({ admitted: false, limit: verdict, used })
      return
    }
    if (take && waits) lease.given(user)
    else if (take) lease.givenInVain(user)
    if (waits) ask.answer({ admitted: true })
  }

  // ——— The way to Redis ———

  #opened(): void {
    this.#away = false
    for (const lease of this.#leases.values()) lease.repeat({ afresh: true })
    this.#kick()
  }

  #later(due: Set<RedisLease>, lease: RedisLease): void {
    due.add(lease)
    this.#kick()
  }

  #kick(): void {
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    // What else this turn of the event loop brings goes along.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    try {
      while (this.#due) {
        const live = this.#options.link.current
        // It is gone on with when the link opens, or at the next turn.
        if (!live || !(await this.#send(live, this.#collect(live)))) break
      }
    } catch (error) {
      this.#options.log.error({ err: error }, 'quotas cannot be told to Redis')
    } finally {
      this.#running = undefined
    }
  }

  get #due(): boolean {
    return this.#countDue || this.#unsent.length > 0 || this.#unwritten.size > 0 || this.#untold.size > 0
  }

  #collect(live: LiveRedis): Call[] {
    // Whether this Redis remembers is known only after the first count.
    const mayAsk = this.#counted === live
    const calls = this.#countDue || !mayAsk ? [this.#countCall(live)] : []
    this.#countDue = false
    const asks = mayAsk ? this.#takeAsks() : []
    calls.push(...this.#writeCalls(asks), ...asks.map((ask) => this.#askCall(ask)))
    for (const lease of [...this.#untold].slice(0, exchangesMax)) {
      this.#untold.delete(lease)
      calls.push(this.#exchangeCall(lease))
    }
    return calls
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
    if (refused === undefined) return true
    if (refused instanceof Error && /^(NOSCRIPT|READONLY)/.test(refused.message)) {
      // Demoted, or without its scripts: the next connection is to another, or brings them.
      live.discard('it refused the scripts of quotas')
      return false
    }
    this.#options.log.warn({ err: refused }, 'Redis does not count quotas; it is tried again')
    for (const ask of this.#unsent.splice(0)) this.#decideAlone(ask)
    return false
  }

  #countCall(live: LiveRedis): Call {
    return {
      script: countGateways,
      keys: [ledgerGatewaysKey(this.#options.installation)],
      args: [this.#id, shareTtlMs],
      take: (reply) => {
        const [known, gateways] = Counted.parse(reply)
        const nowMs = this.#desk.nowMs
        if (this.#counted !== live && this.#everCounted && known === 0)
          this.#settledMs = nowMs + this.#timing.settleMs
        this.#counted = live
        this.#everCounted = true
        this.#setGateways(this.#settling ? Math.max(gateways, this.#gateways) : gateways)
      },
      lost: () => void (this.#countDue = true),
    }
  }

  #setGateways(gateways: number): void {
    if (gateways === this.#gateways) return
    this.#gateways = gateways
    for (const lease of this.#leases.values()) lease.listener?.sharesChanged()
  }

  /** Redis came back without its memory, and others may not have told it yet what they hold. */
  get #settling(): boolean {
    return this.#desk.nowMs < this.#settledMs
  }

  #takeAsks(): Ask[] {
    const taken: Ask[] = []
    const before = new Map<RedisLease, number>()
    for (const ask of this.#unsent.splice(0, asksMax)) {
      if (!this.#asks.has(ask)) continue
      const asked = before.get(ask.lease) ?? 0
      const refusal = this.#settling ? ask.lease.refusalAlone(ask, asked) : undefined
      if (refusal) {
        this.#asks.delete(ask)
        ask.answer(refusal)
        continue
      }
      before.set(ask.lease, asked + 1)
      taken.push(ask)
    }
    return taken
  }

  #askCall(ask: Ask): Call {
    const { lease, limits, take, user } = ask
    const connections = leaseKey(lease.tenantId, 'connections')
    const usersPrefix = leaseKey(lease.tenantId, 'users:')
    const args = [this.#id, usersPrefix, user, limits.max, limits.perUser]
    if (take) lease.asked()
    return {
      script: take ? takePlace : lookForRoom,
      keys: take ? [connections, usersPrefix + this.#id] : [connections],
      args: take ? [...args, this.#timing.placesTtlMs] : args,
      take: (reply) => this.#answered(ask, reply),
      lost: () => {
        if (take) lease.givenInVain(user)
        this.#unsent.push(ask)
      },
    }
  }

  /** What is asked next to must be right: its users come first, and each lease's count is written whole. */
  #writeCalls(asks: readonly Ask[]): Call[] {
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
      calls.push(this.#writeCall(lease, part))
      // A lease is some work, also one without users.
      left -= Math.max(10, part.users.length)
      if (!lease.unwritten) this.#unwritten.delete(lease)
    }
    return calls
  }

  #writeCall(lease: RedisLease, part: PlacesPart): Call {
    return {
      script: writePlaces,
      keys: [leaseKey(lease.tenantId, 'connections'), leaseKey(lease.tenantId, `users:${this.#id}`)],
      args: [this.#id, this.#timing.placesTtlMs, part.held, part.afresh ? 1 : 0, ...part.users.flat()],
      take: (reply) => lease.heardOf({ elsewhere: Elsewhere.parse(reply)[0] }),
      lost: () => {
        lease.lost(part)
        this.#unwritten.add(lease)
      },
    }
  }

  #exchangeCall(lease: RedisLease): Call {
    return {
      script: exchangeRates,
      keys: [leaseKey(lease.tenantId, 'rates')],
      args: [this.#id, shareTtlMs, 1 / this.#gateways, ...lease.rates.message()],
      take: (reply) => {
        const shareMax = this.#settling ? 1 / this.#gateways : 1
        const delivered = lease.rates.answered(Exchanged.parse(reply), { nowMs: this.#desk.nowMs, shareMax })
        lease.listener?.sharesChanged()
        if (delivered > 0) lease.listener?.deliveredElsewhere(delivered)
      },
      // The next turn tells it anew.
      lost: () => {},
    }
  }
}
