// The admission requests that wait for Redis, each up to a deadline. After the deadline this gateway decides
// locally.
import { onDeadline } from '../../deadline.js'
import type { RedisLink } from '../../redis/link.js'
import type { Admission } from '../ledger.js'
import { plusOne, type AdmissionRequest, type ConnectionTotals, type RedisLease } from './lease.js'

/**
 * The most requests that wait. When more arrive, Redis is too slow, and this gateway decides further requests
 * immediately.
 */
const waitingMax = 50_000

/**
 * Consecutive requests for connections of one tenant under the same limits. One script answers them together.
 */
export interface AdmissionBatch extends Pick<AdmissionRequest, 'lease' | 'limits' | 'reserve'> {
  readonly requests: AdmissionRequest[]
}

export class Admissions {
  readonly #link: RedisLink
  readonly #nowMs: () => number
  readonly #deadlineMs: number
  /** All requests without an answer, the oldest first, including those that were sent. */
  readonly #waiting = new Set<AdmissionRequest>()
  #unsent: AdmissionRequest[] = []
  /**
   * True when a request has missed its deadline since the link was last open. Further requests then do not
   * wait.
   */
  #unavailable = false
  #cancelTimer: (() => void) | undefined

  constructor(options: { link: RedisLink; nowMs: () => number; deadlineMs: number }) {
    this.#link = options.link
    this.#nowMs = options.nowMs
    this.#deadlineMs = options.deadlineMs
    this.#link.onOpen(() => {
      this.#unavailable = false
    })
  }

  /** The number of requests that have not been sent. */
  get unsent(): number {
    return this.#unsent.length
  }

  /** Accepts a request, or decides it immediately while Redis is unavailable. */
  submit(request: AdmissionRequest): void {
    const decideNow = (this.#unavailable && !this.#link.current) || this.#waiting.size >= waitingMax
    this.#waiting.add(request)
    if (decideNow) return this.decideLocally(request)
    this.#unsent.push(request)
    this.#scheduleDeadline()
  }

  /** Removes up to `max` requests from the unsent ones and returns those that are not answered yet. */
  takeUnsent(max: number): AdmissionRequest[] {
    return this.#unsent.splice(0, max).filter((request) => this.#waiting.has(request))
  }

  /** Queues the request to be sent again. It is sent only if it is still without an answer at that time. */
  resend(request: AdmissionRequest): void {
    this.#unsent.push(request)
  }

  isWaiting(request: AdmissionRequest): boolean {
    return this.#waiting.has(request)
  }

  /** Answers the request unless it is answered already. */
  answer(request: AdmissionRequest, admission: Admission): void {
    if (this.#waiting.delete(request)) request.answer(admission)
  }

  /** Refuses the requests that exceed this gateway's equal part of the connections. Returns the others. */
  refuseAboveParts(requests: readonly AdmissionRequest[]): AdmissionRequest[] {
    const requested = new Map<RedisLease, ConnectionTotals>()
    return requests.filter((request) => {
      const before = requested.get(request.lease)
      const refusal = request.lease.localRefusal(request, before)
      if (refusal) this.answer(request, refusal)
      else requested.set(request.lease, plusOne(request.user, before))
      return !refusal
    })
  }

  /** Decides the request from the counts of this gateway, unless it is answered already. */
  decideLocally(request: AdmissionRequest): void {
    if (this.#waiting.delete(request)) request.answer(request.lease.decideLocally(request))
  }

  /** Decides all unsent requests locally: Redis is reachable but rejects the scripts. */
  decideUnsentLocally(): void {
    for (const request of this.#unsent.splice(0)) this.decideLocally(request)
  }

  close(): void {
    this.#cancelTimer?.()
    for (const request of this.#waiting) this.decideLocally(request)
  }

  /** Keeps one timer, for the oldest request. */
  #scheduleDeadline(): void {
    const [oldest] = this.#waiting
    if (!oldest || this.#cancelTimer) return
    const waitMs = Math.max(0, oldest.sinceMs + this.#deadlineMs - this.#nowMs())
    this.#cancelTimer = onDeadline(Math.ceil(waitMs), () => {
      this.#cancelTimer = undefined
      const lateMs = this.#nowMs() - this.#deadlineMs
      for (const request of this.#waiting) {
        if (request.sinceMs > lateMs) break
        this.#unavailable = true
        this.decideLocally(request)
      }
      this.#scheduleDeadline()
    })
  }
}

/** Groups requests into batches of at most `max`. The requests of each tenant stay in order. */
export function batchAdmissions(requests: readonly AdmissionRequest[], max: number): AdmissionBatch[] {
  const batches: AdmissionBatch[] = []
  const lastBatch = new Map<RedisLease, AdmissionBatch>()
  for (const request of requests) {
    const { lease, limits, reserve } = request
    const batch = lastBatch.get(lease)
    if (batch && batch.limits === limits && batch.reserve === reserve && batch.requests.length < max) {
      batch.requests.push(request)
      continue
    }
    const opened = { lease, limits, reserve, requests: [request] }
    lastBatch.set(lease, opened)
    batches.push(opened)
  }
  return batches
}
