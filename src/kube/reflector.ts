// Keeps a cache equal to the state of the API server: it reads a complete list, then watches from the version
// of that list. It continues after every kind of failure, until its signal aborts.
import type { Log } from '../log.js'
import { pause as systemPause } from '../deadline.js'
import { systemAfter, systemClock, type After, type Clock } from '../time.js'
import { z } from 'zod'
import { ApiUnreachableError, isApiError } from './api-error.js'
import { errorOfStatus } from './api-status.js'
import type { ApiTransport } from './api-transport.js'
import type { ObjectCache, Selection } from './ports.js'
import { collectionPath, listAll, objectOf, selectionQuery } from './list-pages.js'
import { KubeObjectCache } from './object-cache.js'
import type { ResourceKind } from './object.js'
import { readWatch, WatchBrokenError, type WatchEvent } from './watch-stream.js'

export interface ReflectorOptions extends Selection {
  readonly transport: ApiTransport
  readonly kind: ResourceKind
  readonly log: Log
  /** Called with the error of a cache listener that throws. Default: the error is logged only. */
  readonly onListenerError?: (error: unknown) => void
  readonly clock?: Clock
  readonly after?: After
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Returns a number from 0 to 1. Default: `Math.random`. */
  readonly random?: () => number
}

/** Servers send a bookmark every minute, so a connection without a byte for this long is dead. */
const silentMsMax = 150_000
/**
 * A watch that lasted this long was healthy: its end is not counted as a failure. The same holds for one that
 * the server ended normally after it had sent changes.
 */
const healthyMs = 30_000
const backoffMs = { first: 800, max: 30_000 } as const
/**
 * After this many failed watches from one version a new list is read, because the version may be the cause.
 */
const watchFailuresMax = 3

const Bookmark = z.object({ metadata: z.object({ resourceVersion: z.string().min(1) }) })

export class Reflector {
  readonly cache: ObjectCache
  readonly #objects: KubeObjectCache
  readonly #options: ReflectorOptions
  readonly #clock: Clock
  readonly #path: string
  #started = false
  /** The version from which the next watch continues. Undefined when a list must be read first. */
  #version: string | undefined
  #failures = 0
  #progressedAtMs: number
  #receivedAtMs: number | undefined
  #unavailableReason: string | undefined = 'not listed yet'

  constructor(options: ReflectorOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#path = collectionPath(options.kind, options.namespace)
    this.#progressedAtMs = this.#clock.monotonicMs()
    this.#objects = new KubeObjectCache({
      clock: this.#clock,
      onListenerError: (error) => {
        options.log.error({ err: error, kind: this.kind }, 'a cache listener threw an error')
        options.onListenerError?.(error)
      },
    })
    this.cache = this.#objects
  }

  get kind(): string {
    return this.#options.kind.kind
  }

  /**
   * Why the cache does not follow the server at the moment, or undefined when it does. The cache keeps its
   * content.
   */
  get unavailableReason(): string | undefined {
    return this.#unavailableReason
  }

  /**
   * The milliseconds without any progress: no page, no event, no bookmark and no failed attempt. A failed
   * attempt is progress, because an unreachable API server is not a reason to restart this process. Every
   * attempt has a deadline, so a high value means a bug in this process.
   */
  get stuckMs(): number {
    return this.#started ? this.#clock.monotonicMs() - this.#progressedAtMs : 0
  }

  /** The milliseconds since the server last sent anything, or undefined when it never did. */
  get silentMs(): number | undefined {
    return this.#receivedAtMs === undefined ? undefined : this.#clock.monotonicMs() - this.#receivedAtMs
  }

  /**
   * Lists and watches until `signal` aborts. The cache does not change after that. It can run only once: a
   * second call rejects.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#started) throw new Error(`The reflector of ${this.kind} was started before`)
    this.#started = true
    this.#progressedAtMs = this.#clock.monotonicMs()
    const { pause = systemPause } = this.#options
    while (!signal.aborted) {
      const delayMs = await this.#listAndWatch(signal)
      this.#progressedAtMs = this.#clock.monotonicMs()
      if (delayMs > 0 && !signal.aborted) await pause(delayMs, signal)
    }
  }

  /** Reads a list if one is needed, then follows one watch. Returns the delay before the next round. */
  async #listAndWatch(signal: AbortSignal): Promise<number> {
    let watchStartMs: number | undefined
    let from: string | undefined
    let failure: unknown
    try {
      if (this.#version === undefined) await this.#list(signal)
      from = this.#version
      watchStartMs = this.#clock.monotonicMs()
      await this.#watch(this.#version ?? '', signal)
    } catch (error) {
      failure = error
    }
    if (signal.aborted) return 0
    const lastedMs = watchStartMs === undefined ? 0 : this.#clock.monotonicMs() - watchStartMs
    // During a flood of changes, a server closes watches that it cannot serve fast enough. Each of them goes
    // further than the last one, and a back-off would delay the changes of all namespaces by seconds.
    const wentFurther = failure === undefined && this.#version !== from
    const healthy = lastedMs >= healthyMs || wentFurther
    if (healthy) this.#failures = 0
    if (failure !== undefined) this.#recordFailure(failure)
    if (healthy && this.#version !== undefined) return 0
    this.#failures += 1
    if (failure !== undefined && this.#failures % watchFailuresMax === 0) this.#version = undefined
    const fullMs = Math.min(backoffMs.first * 2 ** (this.#failures - 1), backoffMs.max)
    return fullMs * (0.5 + this.#random() / 2)
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { transport, kind, namespace, labelSelector, fieldSelector } = this.#options
    const list = await listAll(transport, kind, {
      ...(namespace !== undefined && { namespace }),
      ...(labelSelector !== undefined && { labelSelector }),
      ...(fieldSelector !== undefined && { fieldSelector }),
      signal,
      onPage: () => this.#recordReceipt(),
    })
    if (signal.aborted) return
    this.#objects.replace(list.items)
    this.#version = list.resourceVersion
  }

  /** Resolves when the server ends the watch normally. Rejects when it ends for any other reason. */
  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const query = selectionQuery(this.#options)
    query.set('watch', 'true')
    query.set('allowWatchBookmarks', 'true')
    query.set('resourceVersion', version)
    // The random part keeps clients that lost one server together from reconnecting together again and again.
    query.set('timeoutSeconds', String(300 + Math.floor(this.#random() * 301)))
    const ending = new AbortController()
    const onAbort = () => ending.abort(signal.reason)
    if (signal.aborted) return
    signal.addEventListener('abort', onAbort, { once: true })
    let cancelSilenceTimer: (() => void) | undefined
    const startSilenceTimer = () => {
      cancelSilenceTimer?.()
      cancelSilenceTimer = (this.#options.after ?? systemAfter)(silentMsMax, () =>
        ending.abort(new ApiUnreachableError(`the watch was silent for ${silentMsMax} ms`)),
      )
    }
    try {
      const call = { method: 'GET', path: `${this.#path}?${query.toString()}` } as const
      const body = await this.#options.transport.openWatch(call, ending.signal)
      startSilenceTimer()
      this.#progressedAtMs = this.#clock.monotonicMs()
      this.#unavailableReason = undefined
      const onChunk = () => {
        this.#recordReceipt()
        startSilenceTimer()
      }
      for await (const event of readWatch(body, onChunk)) {
        if (ending.signal.aborted) break
        this.#applyEvent(event)
      }
    } catch (error) {
      throw ending.signal.aborted ? ending.signal.reason : error
    } finally {
      cancelSilenceTimer?.()
      signal.removeEventListener('abort', onAbort)
    }
  }

  #applyEvent({ type, object }: WatchEvent): void {
    if (type === 'ERROR') throw errorOfStatus(object)
    if (type === 'BOOKMARK') {
      const bookmark = Bookmark.safeParse(object)
      if (!bookmark.success) throw new WatchBrokenError('a bookmark of the watch has no version')
      this.#version = bookmark.data.metadata.resourceVersion
      return
    }
    const reported = this.#parse(object)
    if (type !== 'DELETED') this.#objects.put(reported)
    else if (!this.#objects.remove(reported)) {
      throw new WatchBrokenError('the watch reported the deletion of an object that was recreated before')
    }
    this.#version = reported.metadata.resourceVersion
  }

  #parse(object: unknown) {
    try {
      return objectOf(this.#options.kind, object, this.#options.transport.fieldManager)
    } catch (error) {
      throw new WatchBrokenError('an event of the watch has no valid object', { cause: error })
    }
  }

  #recordFailure(error: unknown): void {
    const expired = isApiError(error, 'Expired', 'Gone')
    if (expired || error instanceof WatchBrokenError) this.#version = undefined
    const message = error instanceof Error ? error.message : String(error)
    const before = this.#unavailableReason
    this.#unavailableReason = `${this.kind}: ${message}`
    // The same failure at each attempt would fill the log while the server is unreachable.
    const level = this.#unavailableReason === before || expired ? 'debug' : 'warn'
    this.#options.log[level]({ err: error, kind: this.kind }, 'cannot list or watch, retrying')
  }

  #recordReceipt(): void {
    this.#receivedAtMs = this.#clock.monotonicMs()
    this.#progressedAtMs = this.#receivedAtMs
  }

  #random(): number {
    return (this.#options.random ?? Math.random)()
  }
}
