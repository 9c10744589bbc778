// The channels of one tenant on one gateway, for the ledger on Redis: what Redis knows of them, the changes
// that are not written yet, and the requests that wait for Redis.
import { channelRefusal } from '../local-channels.js'
import type { ChannelLease, ChannelRefusal, ChannelSource } from '../ledger.js'

/** A request that waits for Redis. */
export interface ChannelRequest {
  readonly lease: RedisChannelLease
  readonly channel: string
  readonly subscribe: boolean
  /** When the request was created, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
  readonly answer: (refusal: ChannelRefusal | undefined) => void
}

/** The interface through which the channels of a tenant use their ledger. */
export interface ChannelPort {
  /** Returns the number of gateways of the installation, as last known; at least 1. */
  gateways(): number
  nowMs(): number
  /** Lets the request wait, or decides it immediately while Redis is unavailable. */
  submit(request: ChannelRequest): void
  /** Returns whether the request has no answer yet. */
  isWaiting(request: ChannelRequest): boolean
  answer(request: ChannelRequest, refusal: ChannelRefusal | undefined): void
  /** Schedules a write of the channels of this lease. */
  scheduleWrite(lease: RedisChannelLease): void
}

/** One channel of a write. */
export interface ChannelEntry {
  readonly channel: string
  /** The admitted subscribers; -1 when this gateway does not use the channel any more. */
  readonly admitted: number
  readonly asking: number
  readonly isNew: boolean
  readonly storedForMs: number
  readonly requests: readonly ChannelRequest[]
}

/** What Redis answers for one channel: see the script. */
export interface ChannelResult {
  readonly granted: number
  readonly others: number
}

interface ChannelRecord {
  /** The channel is counted for this gateway, or will be with the next write. */
  counted: boolean
  /** The subscribers on the other gateways, as last known. */
  others: number
  /** The subscribers on this gateway, as last written. */
  written: number
  requests: ChannelRequest[]
}

/**
 * The part of the limit of subscribers that all gateways together may admit to a channel before Redis has
 * answered. More subscribers wait for an answer. So the limit is exceeded by at most this part.
 */
const unwrittenPart = 0.05

/** How long the number of channels of the other gateways stays valid without an answer of Redis. */
const othersTtlMs = 25_000

export class RedisChannelLease implements ChannelLease {
  readonly tenantId: string
  /** Undefined: the lease is closed. Then every channel counts as no longer used. */
  source: ChannelSource | undefined
  /** The next write removes all channels of this gateway from Redis first. */
  #resetDue = false
  readonly #port: ChannelPort
  readonly #records = new Map<string, ChannelRecord>()
  readonly #changed = new Set<string>()
  /** The channels that a rewrite still has to write. */
  #rewriting: IterableIterator<string> | undefined
  /** The channels that only other gateways used at the last answer of Redis. */
  #onlyOfOthers = 0
  #othersAtMs = -Infinity

  constructor(tenantId: string, options: { port: ChannelPort; source: ChannelSource }) {
    this.tenantId = tenantId
    this.source = options.source
    this.#port = options.port
  }

  // ——— For the tenant ———

  get usedByAll(): number {
    return (this.source?.count() ?? 0) + this.#channelsOfOthers
  }

  admit(
    channel: string,
    { subscribe }: { subscribe: boolean },
  ): Promise<ChannelRefusal | undefined> | undefined {
    if (!this.source) return undefined
    const record = this.#records.get(channel)
    if (record?.counted && (!subscribe || this.#mayAdd(channel, record))) return undefined
    return new Promise((answer) => {
      const sinceMs = this.#port.nowMs()
      this.#port.submit({ lease: this, channel, subscribe, sinceMs, answer })
    })
  }

  count(channel: string): void {
    this.#setCounted(this.#recordOf(channel))
    this.#markChanged(channel)
  }

  changed(channel: string): void {
    if (this.#records.has(channel)) this.#markChanged(channel)
  }

  // ——— For the ledger ———

  get unwritten(): boolean {
    return this.#rewriting !== undefined || this.#changed.size > 0
  }

  /** Adds a request to the next write. */
  add(request: ChannelRequest): void {
    this.#recordOf(request.channel).requests.push(request)
    this.#markChanged(request.channel)
  }

  /** Schedules a write of all channels. `reset`: Redis may have stale channels of this gateway. */
  rewriteAll({ reset }: { reset: boolean }): void {
    this.#resetDue ||= reset
    if (this.#records.size === 0 || !this.source) return
    this.#rewriting = this.#records.keys()
    this.#port.scheduleWrite(this)
  }

  /** Returns the next write, with at most `max` channels. */
  takeWrite(max: number): { readonly reset: boolean; readonly entries: readonly ChannelEntry[] } {
    const entries: ChannelEntry[] = []
    const take = (channel: string): void => {
      this.#changed.delete(channel)
      const entry = this.#entryOf(channel)
      if (entry) entries.push(entry)
    }
    for (const channel of this.#changed) {
      if (entries.length === max) break
      take(channel)
    }
    while (this.#rewriting && entries.length < max) {
      const next = this.#rewriting.next()
      if (next.done === true) this.#rewriting = undefined
      else take(next.value)
    }
    const reset = this.#resetDue
    this.#resetDue = false
    return { reset, entries }
  }

  /** Marks the channels of a lost write as changed. Their requests wait for the next write. */
  writeLost({
    entries,
    reset,
  }: {
    readonly reset: boolean
    readonly entries: readonly ChannelEntry[]
  }): void {
    this.#resetDue ||= reset
    for (const { admitted, channel, requests } of entries) {
      const record = this.#recordOf(channel)
      record.requests.unshift(...requests)
      if (admitted < 0) record.counted = true
      this.#changed.add(channel)
    }
  }

  /** Applies the answer to a write. */
  written(
    entries: readonly ChannelEntry[],
    { own, results, used }: { used: number; own: number; results: readonly ChannelResult[] },
  ): void {
    this.#onlyOfOthers = Math.max(0, used - own)
    this.#othersAtMs = this.#port.nowMs()
    for (const [index, entry] of entries.entries()) {
      const result = results[index]
      if (!result) throw new Error('the script has answered fewer channels than were written')
      if (entry.admitted >= 0) this.#apply(entry, result, used)
    }
  }

  /** Decides without Redis, from the counts of this gateway and the last known ones of the others. */
  decideLocally(request: ChannelRequest): void {
    const { channel, subscribe } = request
    const record = this.#records.get(channel)
    const refusal =
      this.source &&
      channelRefusal(
        this.source,
        { channel, subscribe, added: subscribe },
        {
          channels: this.#channelsOfOthers,
          subscribers: record?.others ?? 0,
          isCounted: record?.counted ?? false,
        },
      )
    this.#port.answer(request, refusal)
    if (!refusal) this.count(channel)
  }

  get #channelsOfOthers(): number {
    return this.#port.nowMs() - this.#othersAtMs < othersTtlMs ? this.#onlyOfOthers : 0
  }

  /** Returns whether one more subscriber may be added before Redis has answered. */
  #mayAdd(channel: string, { others, written }: ChannelRecord): boolean {
    if (!this.source) return true
    const { subscribers: max } = this.source.channelLimits()
    const own = (this.source.useOf(channel)?.subscribers ?? 0) + 1
    return own + others <= max && own - written <= Math.floor((max * unwrittenPart) / this.#port.gateways())
  }

  #recordOf(channel: string): ChannelRecord {
    let record = this.#records.get(channel)
    if (!record)
      this.#records.set(channel, (record = { counted: false, others: 0, written: 0, requests: [] }))
    return record
  }

  /** Returns what is to be written of the channel, or undefined when there is nothing to write. */
  #entryOf(channel: string): ChannelEntry | undefined {
    const record = this.#records.get(channel)
    if (!record) return undefined
    const requests = record.requests.filter((request) => this.#port.isWaiting(request))
    record.requests = []
    const use = this.source?.useOf(channel)
    if (requests.length === 0) {
      if (!use) this.#records.delete(channel)
      // A refused channel is not counted, although its subscriber may still be about to leave.
      if (!record.counted) return undefined
    }
    const asking = Math.min(requests.filter(({ subscribe }) => subscribe).length, use?.subscribers ?? 0)
    return {
      channel,
      admitted: use || requests.length > 0 ? (use?.subscribers ?? 0) - asking : -1,
      asking,
      isNew: !record.counted,
      storedForMs: use?.storedForMs ?? 0,
      requests,
    }
  }

  #apply(
    { admitted, asking, channel, isNew, requests }: ChannelEntry,
    result: ChannelResult,
    used: number,
  ): void {
    const { granted, others } = result
    const record = this.#recordOf(channel)
    const isRefused = granted < 0
    const isCounted = !isRefused && (!isNew || admitted + granted > 0 || asking === 0)
    if (isCounted) Object.assign(record, { others, written: admitted + granted })
    else if (!this.source?.useOf(channel) && record.requests.length === 0) this.#records.delete(channel)
    // Subscribers that have left meanwhile take no place from the others.
    let left = granted === asking ? Infinity : granted
    for (const request of requests) {
      const refusal: ChannelRefusal | undefined = isRefused
        ? { limit: 'max', used }
        : request.subscribe && left <= 0
          ? { limit: 'subscribers', used: others + admitted + granted }
          : undefined
      if (request.subscribe) left -= 1
      this.#port.answer(request, refusal)
    }
    if (isCounted) this.#setCounted(record)
  }

  /**
   * The publications that wait are answered before later ones, which need no answer any more: publications of
   * a channel keep their order.
   */
  #setCounted(record: ChannelRecord): void {
    record.counted = true
    for (const request of record.requests) if (!request.subscribe) this.#port.answer(request, undefined)
  }

  #markChanged(channel: string): void {
    this.#changed.add(channel)
    this.#port.scheduleWrite(this)
  }
}
