// The quota ledger that gateways share through Redis. Connections are counted in Redis exactly. The rates are
// divided once a second, so that no publish waits for Redis.
import { randomUUID } from 'node:crypto'
import type { Log } from '../../log.js'
import { BatchRunner } from '../../redis/batch-runner.js'
import {
  RedisUnavailableError,
  UnknownOutcomeError,
  type LiveRedis,
  type RedisLink,
} from '../../redis/link.js'
import { addScript, loadScripts } from '../../redis/scripts.js'
import type { Clock } from '../../time.js'
import type { LeaseListener, QuotaLedger, TenantLease } from '../ledger.js'
import { batchAdmissions, Admissions, type AdmissionBatch } from './admissions.js'
import { LedgerCalls, type LedgerCall } from './calls.js'
import { RedisLease, type AdmissionRequest, type LedgerPort } from './lease.js'
import { ledgerScripts, usersPerRequestMax, usersPerWriteMax } from './scripts.js'

export interface LedgerTiming {
  /** How often the gateways are counted and the rates are divided. Default 1,000. */
  readonly syncIntervalMs: number
  /**
   * How long connections count after they were last written: those of a killed gateway are free after this.
   * Default 25,000.
   */
  readonly connectionsTtlMs: number
  /** How often all connections are written again. Default 8,000. */
  readonly refreshMs: number
  /** How long an admission waits for Redis before this gateway decides alone. Default 1,000. */
  readonly admissionDeadlineMs: number
  /**
   * How long it takes until every gateway has written its connections again to a Redis that lost its data.
   * Default 2,000.
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
  /** Prepared with `loadLedgerScripts`. The owner of the link ends it after `close()`. */
  readonly link: RedisLink
  readonly clock: Clock
  readonly log: Log
  /** The gateways of one installation share the quotas. */
  readonly installation: string
  readonly timing?: Partial<LedgerTiming>
}

/** Prepares a connection for a `RedisLedger`. */
export async function loadLedgerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, ledgerScripts)
}

/** The bounds of one pipeline. */
const requestsPerPipelineMax = 500
const usersPerPipelineMax = 2_000
const exchangesPerPipelineMax = 500

/**
 * The admissions of a tenant are one script, which is sent together with those of other tenants of the same
 * turn of the event loop; so are released connections. One pipeline is under way at a time, so a write always
 * carries the counts at the time of sending. While Redis is unavailable each gateway admits up to its equal
 * part of the tenant's connections, and keeps what it holds beyond that; shares stay valid for 5 s and are
 * equal afterwards.
 */
export class RedisLedger implements QuotaLedger {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #log: Log
  readonly #timing: LedgerTiming
  readonly #calls: LedgerCalls
  readonly #admissions: Admissions
  readonly #port: LedgerPort
  readonly #leases = new Map<string, RedisLease>()
  /** Leases with counts to write. */
  readonly #unwritten = new Set<RedisLease>()
  /** Leases whose rates are to be exchanged. */
  readonly #unexchanged = new Set<RedisLease>()
  /** The connection on which this gateway last registered itself. */
  #registeredOn: LiveRedis | undefined
  #countDue = true
  #gateways = 1
  /** Until this time Redis may not know the connections of all gateways. */
  #settledMs = -Infinity
  readonly #batches: BatchRunner
  /** Sending is not possible or would fail again. Cleared when the link opens and at the next sync. */
  #blocked = false

  constructor({ clock, installation, link, log, timing }: RedisLedgerOptions) {
    this.#link = link
    this.#clock = clock
    this.#log = log
    this.#timing = { ...defaultTiming, ...timing }
    const { admissionDeadlineMs: deadlineMs, connectionsTtlMs } = this.#timing
    // The id is new for each run, so that this gateway never takes the counts of an earlier run for its own.
    this.#calls = new LedgerCalls({ gatewayId: randomUUID(), installation, connectionsTtlMs })
    const nowMs = (): number => clock.monotonicMs()
    this.#admissions = new Admissions({ link, nowMs, deadlineMs })
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
      this.#schedule()
    })
  }

  /** The number of gateways of the installation, as last known; at least 1. */
  get gateways(): number {
    return this.#gateways
  }

  /**
   * Opens the lease of a tenant. A closed lease of the same tenant is opened again, with the connections that
   * it still counts.
   */
  open(tenantId: string, listener: LeaseListener): TenantLease {
    const existing = this.#leases.get(tenantId)
    if (existing) {
      existing.listener = listener
      return existing
    }
    const lease = new RedisLease(tenantId, { port: this.#port, listener })
    this.#leases.set(tenantId, lease)
    return lease
  }

  /** Synchronizes every `syncIntervalMs` until `signal` aborts. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => void this.sync(), this.#timing.syncIntervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /**
   * Counts the gateways, divides the rates and writes what is due. Resolves when Redis has answered, or when
   * nothing can be sent. Never rejects.
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
    this.#schedule()
    await this.#batches.idle()
  }

  /** Writes the released connections if Redis is available. Call it after the gateway has drained. */
  async close(): Promise<void> {
    this.#schedule()
    await this.#batches.idle()
    this.#admissions.close()
  }

  // ——— Sending ———

  #schedule(): void {
    this.#blocked = false
    this.#batches.start()
  }

  /** How much waits to be sent. Admission requests count each, since clients wait for them. */
  get #pendingCount(): number {
    const other = this.#countDue || this.#unwritten.size > 0 || this.#unexchanged.size > 0
    return Math.max(this.#admissions.unsent, other ? 1 : 0)
  }

  async #runBatch(): Promise<void> {
    const live = this.#link.current
    this.#blocked = !live || !(await this.#send(live, this.#collect(live)))
  }

  #collect(live: LiveRedis): LedgerCall[] {
    // Only the first count shows whether this Redis has kept its data.
    const mayRequest = this.#registeredOn === live
    const calls = this.#countDue || !mayRequest ? [this.#count(live)] : []
    const requests = mayRequest ? this.#takeRequests() : []
    const batches = batchAdmissions(requests, usersPerRequestMax).map((batch) => this.#request(batch))
    return [...calls, ...this.#write(requests), ...batches, ...this.#exchange()]
  }

  /** Resolves with false when something failed and sending again at once would not help. */
  async #send(live: LiveRedis, calls: readonly LedgerCall[]): Promise<boolean> {
    const pipeline = live.client.pipeline()
    for (const { args, keys, script } of calls) addScript(pipeline, script, { keys, args })
    let replies: readonly unknown[]
    try {
      replies = await live.run(pipeline)
    } catch (error) {
      for (const call of calls) call.onLost()
      if (error instanceof RedisUnavailableError || error instanceof UnknownOutcomeError) return false
      throw error
    }
    let failure: unknown
    calls.forEach((call, index) => {
      const reply = replies[index]
      try {
        if (reply instanceof Error) throw reply
        call.accept(reply)
      } catch (error) {
        failure ??= error
        call.onLost()
      }
    })
    return failure === undefined || this.#handleFailure(live, failure)
  }

  #handleFailure(live: LiveRedis, error: unknown): false {
    // The link has discarded the connection, because the slot moved. The next connection leads to the master
    // that holds it.
    if (live.lost.aborted) return false
    if (error instanceof Error && /^(NOSCRIPT|READONLY)/.test(error.message)) {
      // The server was demoted or has lost the scripts. The next connection leads to the new master, or loads
      // them.
      live.discard('Redis rejected the scripts of the quota ledger')
      return false
    }
    this.#log.warn({ err: error }, 'counting quotas in Redis failed; the gateway tries again')
    this.#admissions.decideUnsentLocally()
    return false
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
   * Redis has lost its data, and other gateways may not have written their connections again. No gateway
   * takes more than an equal part until they have.
   */
  get #settling(): boolean {
    return this.#clock.monotonicMs() < this.#settledMs
  }

  #takeRequests(): AdmissionRequest[] {
    const requests = this.#admissions.takeUnsent(requestsPerPipelineMax)
    if (!this.#settling) return requests
    const requested = new Map<RedisLease, number>()
    return requests.filter((request) => {
      const before = requested.get(request.lease) ?? 0
      const refusal = request.lease.localRefusal(request, before)
      if (refusal) this.#admissions.answer(request, refusal)
      else requested.set(request.lease, before + 1)
      return !refusal
    })
  }

  #request(batch: AdmissionBatch): LedgerCall {
    const { lease, requests, reserve } = batch
    if (reserve) lease.markRequested()
    return this.#calls.request(batch, {
      onReply: ({ heldByOthers, refusals }) => {
        lease.setHeldByOthers(heldByOthers)
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
   * Writes the changed counts. They go before the admission requests of the same pipeline, which must see
   * correct counts: the users of these requests come first, and the total of each lease is always written.
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
      // A lease costs some work even without users.
      left -= Math.max(10, update.users.length)
      if (!lease.unwritten) this.#unwritten.delete(lease)
      calls.push(
        this.#calls.write(lease, {
          update,
          onReply: ({ heldByOthers }) => lease.setHeldByOthers(heldByOthers),
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
          const delivered = lease.rates.applyReply(reply, { nowMs, shareMax })
          lease.listener?.sharesChanged()
          if (delivered > 0) lease.listener?.deliveredByOthers(delivered)
        },
        // The next sync reports the demand again.
        onLost: () => {},
      })
    })
  }
}
