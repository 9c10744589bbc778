// The quota ledger that gateways share through Redis. Connections are counted in Redis exactly. The rates are
// divided once a second, so that no publish waits for Redis.
import { randomUUID } from 'node:crypto'
import type { Log } from '../../log.js'
import { BatchRunner } from '../../redis/batch-runner.js'
import type { LiveRedis, RedisLink } from '../../redis/link.js'
import { loadScripts } from '../../redis/scripts.js'
import type { Clock } from '../../time.js'
import type { LeaseListener, QuotaLedger, TenantLease } from '../ledger.js'
import { batchAdmissions, Admissions, type AdmissionBatch } from './admissions.js'
import { LedgerCalls, type LedgerCall } from './calls.js'
import { writeChannels } from './channel-script.js'
import { RedisChannels } from './channels.js'
import { RedisLease, type AdmissionRequest, type LedgerPort } from './lease.js'
import { ledgerScripts, usersPerRequestMax, usersPerWriteMax } from './scripts.js'
import { sendCalls } from './send-calls.js'

/** The timing of the ledger, in milliseconds. */
export interface LedgerTiming {
  /** The interval at which the gateways are counted and the rates are divided. Default 1,000. */
  readonly syncIntervalMs: number
  /**
   * How long connections count after they were last written. The connections of a killed gateway are free
   * after this time. Default 25,000.
   */
  readonly connectionsTtlMs: number
  /** The interval at which all connections are written again. Default 8,000. */
  readonly refreshMs: number
  /** How long an admission waits for Redis before this gateway decides locally. Default 1,000. */
  readonly admissionDeadlineMs: number
  /**
   * The time in which every gateway writes its connections again to a Redis that has lost its data. Default
   * 2,000.
   */
  readonly settleMs: number
}

const defaultTiming: LedgerTiming = {
  syncIntervalMs: 1_000,
  connectionsTtlMs: 25_000,
  refreshMs: 8_000,
  admissionDeadlineMs: 1_000,
  settleMs: 2_000,
}

export interface RedisLedgerOptions {
  /**
   * A link that prepares its connections with `loadLedgerScripts`. The owner of the link stops it after
   * `close()`.
   */
  readonly link: RedisLink
  readonly clock: Clock
  readonly log: Log
  /** The name of the installation, whose gateways share the quotas. */
  readonly installation: string
  /** Each time has a default: see `LedgerTiming`. */
  readonly timing?: Partial<LedgerTiming>
}

/** Loads the scripts of the ledger on a new connection. */
export async function loadLedgerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, [...ledgerScripts, writeChannels])
}

/** The limits of one pipeline. */
const requestsPerPipelineMax = 500
const usersPerPipelineMax = 2_000
const exchangesPerPipelineMax = 500

/**
 * The admissions of a tenant in one turn of the event loop are one script, which is sent together with the
 * scripts of other tenants and with the writes of released connections. Only one pipeline is sent at a time,
 * so a write always contains the counts at the time of sending. While Redis is unavailable each gateway
 * admits up to its equal part of the tenant's connections, and keeps the connections that it holds beyond
 * that part. Shares stay valid for 5 s and are equal after that.
 */
export class RedisLedger implements QuotaLedger {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #log: Log
  readonly #timing: LedgerTiming
  readonly #calls: LedgerCalls
  readonly #admissions: Admissions
  readonly #port: LedgerPort
  readonly #channels: RedisChannels
  /** When all channels were last written, in milliseconds of the monotonic clock. */
  #channelsRefreshedMs = -Infinity
  readonly #leases = new Map<string, RedisLease>()
  /** The leases with counts to write. */
  readonly #unwritten = new Set<RedisLease>()
  /** The leases whose rates must be exchanged. */
  readonly #unexchanged = new Set<RedisLease>()
  /** The connection on which this gateway last registered itself. */
  #registeredOn: LiveRedis | undefined
  #countDue = true
  #gateways = 1
  /**
   * Before this time, in milliseconds of the monotonic clock, Redis may not have the connections of all
   * gateways.
   */
  #settledMs = -Infinity
  readonly #batches: BatchRunner
  /**
   * True when sending is not possible or would fail again. Cleared when the link opens and at the next sync.
   */
  #blocked = false

  constructor({ clock, installation, link, log, timing }: RedisLedgerOptions) {
    this.#link = link
    this.#clock = clock
    this.#log = log
    this.#timing = { ...defaultTiming, ...timing }
    const { admissionDeadlineMs: deadlineMs, connectionsTtlMs } = this.#timing
    // The id is new for each run, so that this gateway never takes the counts of an earlier run for its
    // own ones.
    const gatewayId = randomUUID()
    this.#calls = new LedgerCalls({ gatewayId, installation, connectionsTtlMs })
    const nowMs = (): number => clock.monotonicMs()
    this.#admissions = new Admissions({ link, nowMs, deadlineMs })
    this.#channels = new RedisChannels({
      link,
      nowMs,
      gatewayId,
      gateways: () => this.#gateways,
      ttlMs: connectionsTtlMs,
      deadlineMs,
      isReady: (live) => this.#registeredOn === live,
      isSettling: () => this.#settling,
      send: (live, calls) => this.#send(live, calls),
      onError: (error) => log.error({ err: error }, 'writing channels to Redis failed'),
    })
    this.#batches = new BatchRunner({
      waiting: () => (this.#blocked ? 0 : this.#pendingCount),
      runBatch: () => this.#runBatch(),
      onError: (error) => {
        this.#blocked = true
        log.error({ err: error }, 'writing quotas to Redis failed')
      },
    })
    this.#port = {
      nowMs,
      gateways: () => this.#gateways,
      submit: (request) => {
        this.#admissions.submit(request)
        this.#schedule()
      },
      scheduleWrite: (lease) => {
        this.#unwritten.add(lease)
        this.#schedule()
      },
      scheduleExchange: (lease) => {
        this.#unexchanged.add(lease)
        this.#schedule()
      },
    }
    link.onOpen(() => {
      for (const lease of this.#leases.values()) lease.rewriteAll({ reset: true })
      this.#channels.rewriteAll()
      this.#schedule()
    })
  }

  /** The number of gateways of the installation, as last known; at least 1. */
  get gateways(): number {
    return this.#gateways
  }

  /**
   * Opens the lease of a tenant. If a closed lease of the tenant still counts connections, that lease is
   * opened again.
   */
  open(tenantId: string, listener: LeaseListener): TenantLease {
    const existing = this.#leases.get(tenantId)
    if (existing) {
      existing.reopen(listener)
      return existing
    }
    const channels = this.#channels.open(tenantId, listener.channels)
    const lease = new RedisLease(tenantId, { port: this.#port, listener, channels })
    this.#leases.set(tenantId, lease)
    return lease
  }

  /** Synchronizes every `syncIntervalMs` until `signal` aborts. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => void this.sync(), this.#timing.syncIntervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /**
   * Counts the gateways, exchanges the rates and writes changed counts. Resolves when Redis has answered, or
   * when nothing can be sent. Never rejects.
   */
  async sync(): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    this.#countDue = true
    for (const [tenantId, lease] of this.#leases) {
      if (lease.done) {
        this.#leases.delete(tenantId)
        continue
      }
      if (nowMs - lease.refreshedMs >= this.#timing.refreshMs && lease.held > 0)
        lease.rewriteAll({ reset: false })
      if (lease.endRateWindow(nowMs)) this.#unexchanged.add(lease)
      if (lease.rates.expire(nowMs)) lease.listener?.sharesChanged()
    }
    this.#channels.sweep()
    if (nowMs - this.#channelsRefreshedMs >= this.#timing.refreshMs) {
      this.#channelsRefreshedMs = nowMs
      this.#channels.refresh()
    }
    this.#schedule()
    await this.#batches.idle()
    this.#channels.start()
    await this.#channels.idle()
  }

  /**
   * Writes the released connections if Redis is available. The caller calls it after the gateway has drained.
   */
  async close(): Promise<void> {
    this.#schedule()
    this.#channels.start()
    await this.#batches.idle()
    await this.#channels.idle()
    this.#admissions.close()
    this.#channels.close()
  }

  // ——— Sending ———

  #schedule(): void {
    this.#blocked = false
    this.#batches.start()
  }

  /**
   * The amount of waiting work. Each admission request counts, because clients wait for it; all other work
   * counts as one.
   */
  get #pendingCount(): number {
    const other = this.#countDue || this.#unwritten.size > 0 || this.#unexchanged.size > 0
    return Math.max(this.#admissions.unsent, other ? 1 : 0)
  }

  async #runBatch(): Promise<void> {
    const live = this.#link.current
    this.#blocked = !live || !(await this.#send(live, this.#collect(live)))
  }

  #collect(live: LiveRedis): LedgerCall[] {
    // Admission requests wait for the reply to the first count on a connection, because only that reply shows
    // whether this Redis has kept its data.
    const mayRequest = this.#registeredOn === live
    const calls = this.#countDue || !mayRequest ? [this.#count(live)] : []
    const requests = mayRequest ? this.#takeRequests() : []
    const batches = batchAdmissions(requests, usersPerRequestMax).map((batch) => this.#request(batch))
    return [...calls, ...this.#write(requests), ...batches, ...this.#exchange()]
  }

  /** Resolves with false when a call failed and sending again immediately would not help. */
  #send(live: LiveRedis, calls: readonly LedgerCall[]): Promise<boolean> {
    return sendCalls(live, calls, {
      onFailure: (error) => {
        this.#log.warn({ err: error }, 'counting quotas in Redis failed; the gateway tries again')
        this.#admissions.decideUnsentLocally()
      },
    })
  }

  // ——— Calls ———

  #count(live: LiveRedis): LedgerCall {
    this.#countDue = false
    return this.#calls.count({
      onReply: ({ gateways, known }) => {
        const forgotten = !known && this.#registeredOn !== undefined
        if (forgotten && this.#registeredOn !== live)
          this.#settledMs = this.#clock.monotonicMs() + this.#timing.settleMs
        this.#registeredOn = live
        this.#channels.start()
        this.#setGateways(this.#settling ? Math.max(gateways, this.#gateways) : gateways)
      },
      onLost: () => void (this.#countDue = true),
    })
  }

  #setGateways(gateways: number): void {
    if (gateways === this.#gateways) return
    this.#gateways = gateways
    for (const lease of this.#leases.values()) lease.listener?.sharesChanged()
  }

  /**
   * Whether Redis has lost its data recently, so that other gateways may not have written their connections
   * again. Meanwhile no gateway admits more than its equal part.
   */
  get #settling(): boolean {
    return this.#clock.monotonicMs() < this.#settledMs
  }

  #takeRequests(): AdmissionRequest[] {
    const requests = this.#admissions.takeUnsent(requestsPerPipelineMax)
    return this.#settling ? this.#admissions.refuseAboveParts(requests) : requests
  }

  #request(batch: AdmissionBatch): LedgerCall {
    const { lease, requests, reserve } = batch
    if (reserve) lease.markRequested()
    return this.#calls.request(batch, {
      onReply: ({ others, refusals }) => {
        lease.setOthers(others)
        for (const [index, request] of requests.entries()) {
          const admission = refusals.get(index) ?? { admitted: true }
          if (reserve && admission.admitted) this.#grant(request)
          this.#admissions.answer(request, admission)
        }
      },
      onLost: () => {
        for (const request of requests) {
          if (reserve) lease.releaseUnused(request.user)
          this.#admissions.resend(request)
        }
      },
    })
  }

  #grant(request: AdmissionRequest): void {
    if (this.#admissions.isWaiting(request)) request.lease.granted(request.user)
    else request.lease.releaseUnused(request.user)
  }

  /**
   * Creates the writes of changed counts. They precede the admission requests of the same pipeline, which
   * need correct counts: the users of these requests come first, and the total of each lease is always
   * written.
   */
  #write(requests: readonly AdmissionRequest[]): LedgerCall[] {
    const requestingUsers = new Map<RedisLease, string[]>()
    for (const { lease, user } of requests) {
      if (!this.#unwritten.has(lease)) continue
      const users = requestingUsers.get(lease)
      if (users) users.push(user)
      else requestingUsers.set(lease, [user])
    }
    const calls: LedgerCall[] = []
    let left = usersPerPipelineMax
    for (const lease of new Set([...requestingUsers.keys(), ...this.#unwritten])) {
      const first = requestingUsers.get(lease) ?? []
      if (left <= 0 && first.length === 0) break
      const update = lease.takeUpdate(Math.max(first.length, Math.min(left, usersPerWriteMax)), first)
      // A lease has a cost even without users.
      left -= Math.max(10, update.users.length)
      if (!lease.unwritten) this.#unwritten.delete(lease)
      calls.push(
        this.#calls.write(lease, {
          update,
          onReply: ({ others }) => lease.setOthers(others),
          onLost: () => {
            lease.updateLost(update)
            this.#unwritten.add(lease)
          },
        }),
      )
    }
    return calls
  }

  #exchange(): LedgerCall[] {
    const leases = [...this.#unexchanged].slice(0, exchangesPerPipelineMax)
    for (const lease of leases) this.#unexchanged.delete(lease)
    return leases.map((lease) => {
      const equalShare = 1 / this.#gateways
      return this.#calls.exchange(lease, {
        equalShare,
        onReply: (reply) => {
          const shareMax = this.#settling ? equalShare : 1
          const nowMs = this.#clock.monotonicMs()
          const used = lease.rates.applyReply(reply, { nowMs, shareMax })
          lease.listener?.sharesChanged()
          for (const [rate, amount] of used) if (amount > 0) lease.listener?.usedByOthers(rate, amount)
        },
        // A lost exchange needs no retry: the next sync reports the demand again.
        onLost: () => {},
      })
    })
  }
}
