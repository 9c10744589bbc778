// Who leads: the holder of a Lease that has to be renewed. What is held is known by clocks alone, asked at the moment of each write; a
// process that stood still finds out before it does harm.
import { z } from 'zod'
import type { Log } from '../log.js'
import { pause as systemPause } from '../deadline.js'
import type { Clock } from '../time.js'
import { isApiError, NotLeadingError } from './api-error.js'
import type { Leadership, ObjectApi } from './ports.js'
import type { ApiObject, ObjectMeta, ObjectName, ResourceKind } from './object.js'
import { microTimeText } from './timestamps.js'

export const leaseKind: ResourceKind = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
}

export interface LeaseOptions {
  /** Without a guard: it is the guard. `new KubeObjects(transport, { urgent: { deadlineMs: 5_000 } })`. */
  readonly objects: Pick<ObjectApi, 'get' | 'create' | 'update'>
  readonly name: ObjectName
  /** Another one for each process, also of the same pod: `<pod>_<random>`. */
  readonly identity: string
  readonly clock: Clock
  readonly log: Log
  /** This process leads from now on. */
  readonly onLeading: () => void
  /** It led and does not any more, without having wanted to stop: end the process. */
  readonly onLost: (reason: string) => void
  /** How long others wait for a silent holder. Default 15,000. */
  readonly durationMs?: number
  /** How long a holder believes in itself without a renewal; shorter, so that what it sent last is over by then. Default 10,000. */
  readonly renewDeadlineMs?: number
  /** Between two renewals, ± 20 %; between two looks at another's lease half of it. Default 2,000. */
  readonly retryMs?: number
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  readonly random?: () => number
  /** For metrics. `slow`: a renewal that had to read first. */
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
 * Terms of a Lease that had to be created begin at the seconds since then, so that they are above all that came before it was deleted:
 * terms change less than once a second. As an int32 this lasts until 2091.
 */
const termEpochMs = Date.UTC(2023, 0, 1)

/** A moment on both clocks: the monotonic one stands still while the machine sleeps, the other one jumps. Either may end a term. */
interface Moment {
  readonly monotonicMs: number
  readonly epochMs: number
}

interface Held {
  /** What was written last, and what may be replaced. */
  readonly version: Pick<ObjectMeta, 'uid' | 'resourceVersion'>
  readonly term: number
  readonly acquireTime: string
  /** Before the renewal was sent: what the server has is not older. */
  readonly renewed: Moment
}

export class Elector implements Leadership {
  readonly #options: LeaseOptions
  readonly #durationMs: number
  readonly #renewDeadlineMs: number
  #held: Held | undefined
  #lastTerm: number | undefined
  /** Another's lease as it was seen last, and when it was first seen so. */
  #seen: { resourceVersion: string; at: Moment } | undefined
  #started = false

  constructor(options: LeaseOptions) {
    this.#options = options
    this.#durationMs = options.durationMs ?? 15_000
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000
  }

  get leading(): boolean {
    return this.#held !== undefined && this.#sinceMs(this.#held.renewed) < this.#renewDeadlineMs
  }

  get term(): number {
    if (this.#lastTerm === undefined) throw new NotLeadingError('this process never led')
    return this.#lastTerm
  }

  assertLeading(): void {
    if (!this.leading) throw new NotLeadingError('the lease is not held, or not for sure')
  }

  /**
   * Stands for election until `signal` ends; then gives the lease back, so that a standby need not wait. Whatever writes under the lease
   * has to have ended before. Returns after `onLost`. Once only: throws the second time.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#started) throw new Error('This elector was started before')
    this.#started = true
    const { pause = systemPause, random = Math.random, retryMs = 2_000 } = this.#options
    while (!signal.aborted) {
      const led = this.#held !== undefined
      const trouble = await this.#turn(signal)
      if (led && !this.leading) {
        this.#held = undefined
        return this.#options.onLost(trouble ?? `not renewed within ${this.#renewDeadlineMs} ms`)
      }
      // Who waits looks oftener than who leads renews: that costs nothing but a read, and shortens the time without a leader.
      const waitMs = this.#held ? retryMs : retryMs / 2
      if (!signal.aborted) await pause(waitMs * (0.8 + 0.4 * random()), signal)
    }
    await this.#release()
  }

  /** One renewal or one attempt to acquire. Says what was in the way. */
  async #turn(signal: AbortSignal): Promise<string | undefined> {
    try {
      // The standstill of this process may be longer than the lease: that somebody led meanwhile cannot be seen from a version.
      if (this.#held && !this.leading) return 'this process stood still for longer than its lease lasts'
      return this.#held ? await this.#renew(this.#held) : await this.#tryAcquire(signal)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (!signal.aborted) this.#options.log.warn({ err: error }, 'the lease could not be read or written')
      return message
    }
  }

  async #renew(held: Held): Promise<string | undefined> {
    const renewed = this.#now()
    try {
      const lease = await this.#options.objects.update(leaseKind, this.#lease(held, renewed, held.version))
      this.#held = { ...held, renewed, version: lease.metadata }
      return undefined
    } catch (error) {
      if (!isApiError(error, 'Conflict', 'NotFound')) throw error
    }
    // Somebody took it, or wrote to it, or an earlier renewal of ours got through although its answer did not.
    this.#options.onSlowPath?.()
    const lease = await this.#read()
    if (!lease) return this.#dropped('the lease was deleted')
    const spec = specOf(lease)
    if (spec.holderIdentity !== this.#options.identity || spec.leaseTransitions !== held.term) {
      return this.#dropped(`${spec.holderIdentity ?? 'nobody'} has the lease now`)
    }
    this.#held = { ...held, version: lease.metadata }
    return undefined
  }

  #dropped(reason: string): string {
    // Not to be believed for the rest of its time: somebody else may lead already.
    if (this.#held) this.#held = { ...this.#held, renewed: { monotonicMs: -Infinity, epochMs: -Infinity } }
    return reason
  }

  async #tryAcquire(signal: AbortSignal): Promise<string | undefined> {
    const { objects, name, identity, log, onLeading } = this.#options
    const lease = await this.#read()
    const renewed = this.#now()
    const spec = lease && specOf(lease)
    if (lease && spec && this.#isTaken(lease, spec)) return `${spec.holderIdentity} has the lease`
    if (signal.aborted) return undefined

    const firstTerm = Math.floor((renewed.epochMs - termEpochMs) / 1000)
    const wanted = {
      term: lease ? (spec?.leaseTransitions ?? 0) + 1 : firstTerm,
      acquireTime: microTimeText(renewed.epochMs),
    }
    try {
      const written = lease
        ? await objects.update(leaseKind, this.#lease(wanted, renewed, lease.metadata))
        : await objects.create(leaseKind, this.#lease(wanted, renewed))
      this.#held = { ...wanted, renewed, version: written.metadata }
    } catch (error) {
      if (isApiError(error, 'Conflict', 'AlreadyExists')) return 'another was faster'
      throw error
    }
    this.#lastTerm = wanted.term
    this.#seen = undefined
    log.info({ identity, term: wanted.term, lease: name }, 'this process leads')
    // Answered too late to be believed, or while the end had begun: the loop, or the release, deals with it.
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

  /** Only what this process has seen stand still counts: the times in the lease are by another machine's clock. */
  #isTaken({ metadata: { resourceVersion } }: ApiObject, spec: z.infer<typeof Spec>): boolean {
    if (!spec.holderIdentity) return false
    const at = this.#now()
    if (this.#seen?.resourceVersion !== resourceVersion) this.#seen = { resourceVersion, at }
    const durationMs = (spec.leaseDurationSeconds ?? 0) * 1000 || this.#durationMs
    return at.monotonicMs - this.#seen.at.monotonicMs < durationMs
  }

  /** Best effort: who does not manage to is waited for. */
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
      this.#options.log.warn({ err: error }, 'the lease could not be given back')
    }
  }

  #lease({ term, acquireTime }: Pick<Held, 'term' | 'acquireTime'>, at: Moment, version?: Held['version']) {
    return {
      // The uid too: the server makes a lease of a write to one that was deleted.
      metadata: {
        ...this.#options.name,
        ...(version && { uid: version.uid, resourceVersion: version.resourceVersion }),
      },
      spec: {
        holderIdentity: this.#options.identity,
        leaseDurationSeconds: Math.ceil(this.#durationMs / 1000),
        acquireTime,
        renewTime: microTimeText(at.epochMs),
        leaseTransitions: term,
      },
    }
  }

  #now(): Moment {
    return { monotonicMs: this.#options.clock.monotonicMs(), epochMs: this.#options.clock.epochMs() }
  }

  #sinceMs(then: Moment): number {
    const now = this.#now()
    return Math.max(now.monotonicMs - then.monotonicMs, now.epochMs - then.epochMs)
  }
}

function specOf(lease: ApiObject): z.infer<typeof Spec> {
  return Spec.safeParse(lease['spec']).data ?? {}
}
