// Elects a leader: the process that holds and renews a Lease object. This process compares its clocks with
// the last renewal immediately before each write, so a process that stalled detects the loss of the lease
// before it writes.
import { z } from 'zod'
import type { Log } from '../log.js'
import { pause as systemPause } from '../deadline.js'
import type { Clock } from '../time.js'
import { isApiError, NotLeadingError } from './api-error.js'
import type { Leadership, ObjectApi } from './ports.js'
import type { ApiObject, ObjectMeta, ObjectKey, ResourceKind } from './object.js'
import { microTimestamp } from './timestamps.js'

export const leaseKind: ResourceKind = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
}

export interface LeaseOptions {
  /**
   * An API without a guard, because the elector is the guard of the other APIs: `new KubeObjectApi(transport,
   * { unthrottled: { deadlineMs: 5_000 } })`.
   */
  readonly objects: Pick<ObjectApi, 'get' | 'create' | 'update'>
  readonly name: ObjectKey
  /** Unique to the process, also among the processes of one pod: `<pod>_<random>`. */
  readonly identity: string
  readonly clock: Clock
  readonly log: Log
  /** Called when this process begins to lead. */
  readonly onLeading: () => void
  /** Called when this process lost the lease without being stopped. The process must end. */
  readonly onLost: (reason: string) => void
  /** How long other processes wait for a holder that does not renew. Default 15,000. */
  readonly durationMs?: number
  /**
   * How long a holder regards itself as the leader without a renewal. It is shorter than `durationMs`, so
   * that the last requests of the holder have ended before another process leads. Default 10,000.
   */
  readonly renewDeadlineMs?: number
  /** The time between two renewals, ± 20 %. A standby reads the lease twice as often. Default 2,000. */
  readonly retryMs?: number
  /** Waits between two attempts. Default: a timer; tests replace it. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Returns a number from 0 to 1. Default: `Math.random`. */
  readonly random?: () => number
  /** Called when a renewal had to read the lease first, for metrics. */
  readonly onSlowPath?: () => void
}

const Spec = z.looseObject({
  holderIdentity: z.string().nullish(),
  leaseDurationSeconds: z.number().nullish(),
  acquireTime: z.string().nullish(),
  renewTime: z.string().nullish(),
  leaseTransitions: z.number().nullish(),
})

/**
 * The first term of a new Lease is the number of seconds since this instant. It is not below any term of a
 * Lease of the same name that was deleted before, because no term is ahead of this clock (see `#tryAcquire`).
 * As an int32, which is the type of `leaseTransitions`, it lasts until 2091.
 */
const termEpochMs = Date.UTC(2023, 0, 1)

/**
 * An instant on both clocks. The monotonic clock may stop while the machine sleeps, and the wall clock may
 * jump, so the longer of the two elapsed times counts.
 */
interface Moment {
  readonly monotonicMs: number
  readonly epochMs: number
}

interface HeldLease {
  /** The version that this process wrote last, and that a renewal may replace. */
  readonly version: Pick<ObjectMeta, 'uid' | 'resourceVersion'>
  readonly term: number
  readonly acquireTime: string
  /** The instant before the last renewal was sent, so that it is not later than the renewal on the server. */
  readonly renewed: Moment
}

export class LeaseElector implements Leadership {
  readonly #options: LeaseOptions
  readonly #durationMs: number
  readonly #renewDeadlineMs: number
  #held: HeldLease | undefined
  #lastTerm: number | undefined
  /** The version of a foreign lease that was read last, and when it was first read. */
  #observed: { resourceVersion: string; at: Moment } | undefined
  #started = false

  constructor(options: LeaseOptions) {
    this.#options = options
    this.#durationMs = options.durationMs ?? 15_000
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000
  }

  get leading(): boolean {
    return this.#held !== undefined && this.#elapsedMs(this.#held.renewed) < this.#renewDeadlineMs
  }

  get term(): number {
    if (this.#lastTerm === undefined) throw new NotLeadingError('this process never led')
    return this.#lastTerm
  }

  assertLeading(): void {
    if (!this.leading) throw new NotLeadingError('the lease is not held, or its renewal is overdue')
  }

  /**
   * Takes part in the election until `signal` aborts, then releases the lease, so that a standby does not
   * need to wait for it to expire. All writes under the lease must have ended before `signal` aborts. Also
   * resolves after `onLost`. It can run only once: a second call rejects.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#started) throw new Error('This elector was started before')
    this.#started = true
    const { pause = systemPause, random = Math.random, retryMs = 2_000 } = this.#options
    while (!signal.aborted) {
      const led = this.#held !== undefined
      const obstacle = await this.#renewOrAcquire(signal)
      if (led && !this.leading) {
        this.#held = undefined
        return this.#options.onLost(obstacle ?? `not renewed within ${this.#renewDeadlineMs} ms`)
      }
      // A standby reads more often than a leader renews. A read is cheap and shortens the time without a
      // leader.
      const waitMs = this.#held ? retryMs : retryMs / 2
      if (!signal.aborted) await pause(waitMs * (0.8 + 0.4 * random()), signal)
    }
    await this.#release()
  }

  /**
   * Renews the lease once, or tries once to acquire it. Returns the reason when it could not, or undefined.
   */
  async #renewOrAcquire(signal: AbortSignal): Promise<string | undefined> {
    try {
      // After a stall longer than the lease another process may have led, even if the lease has its old
      // version again.
      if (this.#held && !this.leading) return 'this process stalled for longer than its lease lasts'
      return this.#held ? await this.#renew(this.#held) : await this.#tryAcquire(signal)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (!signal.aborted) this.#options.log.warn({ err: error }, 'cannot read or write the lease, retrying')
      return message
    }
  }

  async #renew(held: HeldLease): Promise<string | undefined> {
    const renewed = this.#now()
    try {
      const lease = await this.#options.objects.update(leaseKind, this.#lease(held, renewed, held.version))
      this.#held = { ...held, renewed, version: lease.metadata }
      return undefined
    } catch (error) {
      if (!isApiError(error, 'Conflict', 'NotFound')) throw error
    }
    // Another client wrote to the lease, or an earlier renewal succeeded although its response was lost.
    this.#options.onSlowPath?.()
    const lease = await this.#read()
    if (!lease) return this.#invalidate('the lease was deleted')
    const spec = specOf(lease)
    if (spec.holderIdentity !== this.#options.identity || spec.leaseTransitions !== held.term) {
      return this.#invalidate(`${spec.holderIdentity ?? 'no process'} holds the lease now`)
    }
    this.#held = { ...held, version: lease.metadata }
    return undefined
  }

  #invalidate(reason: string): string {
    // `leading` must be false from now on: another process may lead already.
    if (this.#held) this.#held = { ...this.#held, renewed: { monotonicMs: -Infinity, epochMs: -Infinity } }
    return reason
  }

  async #tryAcquire(signal: AbortSignal): Promise<string | undefined> {
    const { objects, name, identity, log, onLeading } = this.#options
    const lease = await this.#read()
    const renewed = this.#now()
    const spec = lease && specOf(lease)
    if (lease && spec && this.#isTaken(lease, spec)) return `${spec.holderIdentity} holds the lease`
    if (signal.aborted) return undefined

    const clockTerm = Math.floor((renewed.epochMs - termEpochMs) / 1000)
    const term = lease ? (spec?.leaseTransitions ?? 0) + 1 : clockTerm
    // Leaders that change faster than once a second would put the term ahead of the clock. If the Lease was
    // deleted then, the next leader would begin with a lower term, and all fenced stores would refuse its
    // writes. A term that is ahead by more comes from another machine's clock, and waiting for it could take
    // any time.
    if (term === clockTerm + 1) return 'the previous leader began less than a second ago'

    const acquired = { term, acquireTime: microTimestamp(renewed.epochMs) }
    try {
      const written = lease
        ? await objects.update(leaseKind, this.#lease(acquired, renewed, lease.metadata))
        : await objects.create(leaseKind, this.#lease(acquired, renewed))
      this.#held = { ...acquired, renewed, version: written.metadata }
    } catch (error) {
      if (isApiError(error, 'Conflict', 'AlreadyExists')) return 'another process acquired the lease first'
      throw error
    }
    this.#lastTerm = term
    this.#observed = undefined
    log.info({ identity, term, lease: name }, 'acquired the lease, leading')
    // If the response came too late, `run` ends. If the process is stopping, `run` releases the lease.
    if (this.leading && !signal.aborted) onLeading()
    return undefined
  }

  async #read(): Promise<ApiObject | undefined> {
    try {
      return await this.#options.objects.get(leaseKind, this.#options.name)
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined
      throw error
    }
  }

  /**
   * Returns true until the lease has stayed unchanged for its duration, as measured by this process. The
   * times in the lease are not used, because they come from another machine's clock.
   */
  #isTaken({ metadata: { resourceVersion } }: ApiObject, spec: z.infer<typeof Spec>): boolean {
    if (!spec.holderIdentity) return false
    const at = this.#now()
    if (this.#observed?.resourceVersion !== resourceVersion) this.#observed = { resourceVersion, at }
    const durationMs = (spec.leaseDurationSeconds ?? 0) * 1000 || this.#durationMs
    return at.monotonicMs - this.#observed.at.monotonicMs < durationMs
  }

  /** Releases the lease if possible. If not, a standby waits for it to expire. */
  async #release(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    if (!held) return
    const now = this.#now()
    try {
      const { metadata, spec } = this.#lease(held, now, held.version)
      const free = { ...spec, holderIdentity: '', leaseDurationSeconds: 1 }
      await this.#options.objects.update(leaseKind, { metadata, spec: free })
    } catch (error) {
      this.#options.log.warn({ err: error }, 'cannot release the lease, a standby waits until it expires')
    }
  }

  #lease(
    { term, acquireTime }: Pick<HeldLease, 'term' | 'acquireTime'>,
    at: Moment,
    version?: HeldLease['version'],
  ) {
    return {
      // Without the uid, the server would create a new lease when the old one was deleted.
      metadata: {
        ...this.#options.name,
        ...(version && { uid: version.uid, resourceVersion: version.resourceVersion }),
      },
      spec: {
        holderIdentity: this.#options.identity,
        leaseDurationSeconds: Math.ceil(this.#durationMs / 1000),
        acquireTime,
        renewTime: microTimestamp(at.epochMs),
        leaseTransitions: term,
      },
    }
  }

  #now(): Moment {
    return { monotonicMs: this.#options.clock.monotonicMs(), epochMs: this.#options.clock.epochMs() }
  }

  #elapsedMs(then: Moment): number {
    const now = this.#now()
    return Math.max(now.monotonicMs - then.monotonicMs, now.epochMs - then.epochMs)
  }
}

function specOf(lease: ApiObject): z.infer<typeof Spec> {
  return Spec.safeParse(lease['spec']).data ?? {}
}
