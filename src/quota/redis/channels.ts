// Counts the channels of all tenants in Redis, for the ledger. The channels of a tenant that changed in one
// turn of the event loop are one script, which is sent together with those of other tenants. A channel that
// this gateway counts already needs no answer of Redis, so only the first use of a channel waits for one.
import { z } from 'zod'
import { onDeadline } from '../../deadline.js'
import { BatchRunner } from '../../redis/batch-runner.js'
import { leaseKey } from '../../redis/keys.js'
import type { LiveRedis, RedisLink } from '../../redis/link.js'
import type { ChannelRefusal, ChannelSource } from '../ledger.js'
import type { LedgerCall } from './calls.js'
import { RedisChannelLease, type ChannelPort, type ChannelRequest } from './channel-lease.js'
import { channelsPerCallMax, writeChannels } from './channel-script.js'

export interface RedisChannelsOptions {
  readonly link: RedisLink
  readonly nowMs: () => number
  readonly gatewayId: string
  readonly gateways: () => number
  /** How long channels count after they were last written, in milliseconds. */
  readonly ttlMs: number
  /** How long a request waits for Redis before this gateway decides, in milliseconds. */
  readonly deadlineMs: number
  /** Returns whether this connection may be used: the gateway has registered itself on it. */
  readonly isReady: (live: LiveRedis) => boolean
  /** Returns whether Redis may lack the channels of other gateways, because it has lost its data. */
  readonly isSettling: () => boolean
  /** Sends the calls. Resolves with false when sending again immediately would not help. */
  readonly send: (live: LiveRedis, calls: readonly LedgerCall[]) => Promise<boolean>
  readonly onError: (error: unknown) => void
}

/** The most calls of one pipeline, and the most requests that wait. */
const [callsPerPipelineMax, waitingMax] = [50, 50_000]

const WriteReply = z
  .tuple([z.number(), z.number()])
  .rest(z.tuple([z.number(), z.number()]).transform(([granted, others]) => ({ granted, others })))
  .transform(([used, own, ...results]) => ({ used, own, results }))

export class RedisChannels {
  readonly #options: RedisChannelsOptions
  readonly #leases = new Map<string, RedisChannelLease>()
  readonly #unwritten = new Set<RedisChannelLease>()
  /** All requests without an answer, the oldest first. */
  readonly #waiting = new Set<ChannelRequest>()
  readonly #batches: BatchRunner
  readonly #port: ChannelPort
  /** True when sending is not possible or would fail again, until `start` is called. */
  #blocked = false
  #cancelTimer: (() => void) | undefined

  constructor(options: RedisChannelsOptions) {
    this.#options = options
    this.#batches = new BatchRunner({
      waiting: () =>
        this.#blocked || this.#unwritten.size === 0 ? 0 : Math.max(this.#waiting.size, this.#unwritten.size),
      runBatch: () => this.#runBatch(),
      onError: (error) => {
        this.#blocked = true
        options.onError(error)
      },
    })
    this.#port = {
      gateways: options.gateways,
      nowMs: options.nowMs,
      submit: (request) => this.#submit(request),
      isWaiting: (request) => this.#waiting.has(request),
      answer: (request, refusal) => this.#answer(request, refusal),
      scheduleWrite: (lease) => {
        this.#unwritten.add(lease)
        if (!this.#blocked) this.#batches.start()
      },
    }
  }

  /** Returns the channels of a tenant, which read `source` from now on. */
  open(tenantId: string, source: ChannelSource): RedisChannelLease {
    let lease = this.#leases.get(tenantId)
    if (lease) lease.source = source
    else this.#leases.set(tenantId, (lease = new RedisChannelLease(tenantId, { port: this.#port, source })))
    return lease
  }

  /** Writes all channels to a Redis that may have lost them. */
  rewriteAll(): void {
    for (const lease of this.#leases.values()) lease.rewriteAll({ reset: true })
  }

  /** Writes all channels again before they expire, and forgets the leases that are closed. */
  refresh(): void {
    for (const [tenantId, lease] of this.#leases) {
      if (lease.source) lease.rewriteAll({ reset: false })
      else if (!lease.unwritten) this.#leases.delete(tenantId)
    }
  }

  /** Finds the channels whose history has expired. */
  sweep(): void {
    for (const { source } of this.#leases.values()) source?.count()
  }

  /** Sends what waits. Called when sending is possible again. */
  start(): void {
    this.#blocked = false
    this.#batches.start()
  }

  idle(): Promise<void> {
    return this.#batches.idle()
  }

  /** Answers all requests. The caller has sent what was to be sent. */
  close(): void {
    this.#cancelTimer?.()
    for (const request of this.#waiting) request.lease.decideLocally(request)
  }

  #submit(request: ChannelRequest): void {
    const { isSettling, link } = this.#options
    const decideNow = (this.#blocked && !link.current) || isSettling() || this.#waiting.size >= waitingMax
    this.#waiting.add(request)
    if (decideNow) return request.lease.decideLocally(request)
    request.lease.add(request)
    this.#scheduleDeadline()
  }

  #answer(request: ChannelRequest, refusal: ChannelRefusal | undefined): void {
    if (this.#waiting.delete(request)) request.answer(refusal)
  }

  async #runBatch(): Promise<void> {
    const { isReady, link, send } = this.#options
    const live = link.current
    this.#blocked = !live || !isReady(live) || !(await send(live, this.#collect()))
  }

  #collect(): LedgerCall[] {
    const calls: LedgerCall[] = []
    for (const lease of this.#unwritten) {
      if (calls.length === callsPerPipelineMax) break
      this.#unwritten.delete(lease)
      const call = this.#write(lease)
      if (call) calls.push(call)
      // What is left comes after the other tenants.
      if (lease.unwritten) this.#unwritten.add(lease)
    }
    return calls
  }

  #write(lease: RedisChannelLease): LedgerCall | undefined {
    const { gatewayId, ttlMs } = this.#options
    const write = lease.takeWrite(channelsPerCallMax)
    if (write.entries.length === 0 && !write.reset) return undefined
    const { max, subscribers } = lease.source?.channelLimits() ?? { max: 0, subscribers: 0 }
    const prefix = leaseKey(lease.tenantId, 'channels:')
    return {
      script: writeChannels,
      keys: [leaseKey(lease.tenantId, 'channels'), leaseKey(lease.tenantId, 'holders'), prefix + gatewayId],
      args: [
        gatewayId,
        prefix,
        ttlMs,
        max,
        subscribers,
        write.reset ? 1 : 0,
        ...write.entries.flatMap(({ admitted, asking, channel, isNew, storedForMs }) => [
          channel,
          admitted,
          asking,
          isNew ? 1 : 0,
          Math.ceil(storedForMs),
        ]),
      ],
      accept: (reply) => lease.written(write.entries, WriteReply.parse(reply)),
      onLost: () => {
        lease.writeLost(write)
        this.#unwritten.add(lease)
      },
    }
  }

  /** Keeps one timer, for the oldest request. */
  #scheduleDeadline(): void {
    const { deadlineMs, nowMs } = this.#options
    const [oldest] = this.#waiting
    if (!oldest || this.#cancelTimer) return
    this.#cancelTimer = onDeadline(Math.ceil(Math.max(0, oldest.sinceMs + deadlineMs - nowMs())), () => {
      this.#cancelTimer = undefined
      const lateMs = nowMs() - deadlineMs
      for (const request of this.#waiting) {
        if (request.sinceMs > lateMs) break
        request.lease.decideLocally(request)
      }
      this.#scheduleDeadline()
    })
  }
}
