// Keeps a cache equal to what the API server has: a complete list, then a watch from there, for ever, whatever the server does.
import type { Log } from '../log.js'
import { pause as systemPause } from '../deadline.js'
import { systemAfter, systemClock, type After, type Clock } from '../time.js'
import { z } from 'zod'
import { ApiUnreachableError, isApiError } from './api-error.js'
import { errorOfStatus } from './api-status.js'
import type { ApiTransport } from './api-transport.js'
import type { ObjectCache, Selection } from './ports.js'
import { acceptOf, collectionPath, listAll, objectOf, selectionQuery } from './list-pages.js'
import { CachedObjects } from './object-cache.js'
import type { ResourceKind } from './object.js'
import { readWatch, WatchBrokenError, type WatchEvent } from './watch-stream.js'

export interface ReflectorOptions extends Selection {
  readonly transport: ApiTransport
  readonly kind: ResourceKind
  readonly log: Log
  /** For Secrets: content is read by name when it is needed, and kept nowhere. */
  readonly metadataOnly?: boolean
  /** A listener threw. Default: logged only. */
  readonly onBug?: (error: unknown) => void
  readonly clock?: Clock
  readonly after?: After
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>
  /** From 0 to 1. */
  readonly random?: () => number
}

/** Bookmarks come every minute where the server sends them: after this long without a byte nobody is there. */
const silentMsMax = 150_000
/** A watch that lasted this long was good: what ended it was no sign of trouble. */
const healthyMs = 30_000
const backoffMs = { first: 800, max: 30_000 } as const
/** Watching from the same version has failed that often: perhaps that version is the trouble. */
const watchFailuresMax = 3

const Bookmark = z.object({ metadata: z.object({ resourceVersion: z.string().min(1) }) })

export class Reflector {
  readonly cache: ObjectCache
  readonly #objects: CachedObjects
  readonly #options: ReflectorOptions
  readonly #clock: Clock
  readonly #path: string
  #started = false
  /** Where to go on watching. Undefined: list first. */
  #version: string | undefined
  #failures = 0
  #turnedMs: number
  #heardMs: number | undefined
  #trouble: string | undefined = 'not listed yet'

  constructor(options: ReflectorOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#path = collectionPath(options.kind, options.namespace)
    this.#turnedMs = this.#clock.monotonicMs()
    this.#objects = new CachedObjects({
      clock: this.#clock,
      onBug: (error) => {
        options.log.error({ err: error, kind: this.kind }, 'a listener of the cache threw')
        options.onBug?.(error)
      },
    })
    this.cache = this.#objects
  }

  get kind(): string {
    return this.#options.kind.kind
  }

  /** Why the server is not followed at the moment. What the cache holds stays. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /**
   * How long nothing at all has happened here: no page, no event, no bookmark, no failed attempt. An API server that is away is no reason
   * to be restarted, and failing is progress: every attempt has a deadline, so this grows only when something of ours is stuck.
   */
  get stuckMs(): number {
    return this.#started ? this.#clock.monotonicMs() - this.#turnedMs : 0
  }

  /** Since the server was last heard of. Undefined: never. */
  get heardAgoMs(): number | undefined {
    return this.#heardMs === undefined ? undefined : this.#clock.monotonicMs() - this.#heardMs
  }

  /** Lists and watches until `signal` ends it; then the cache does not change any more. Once only: throws the second time. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#started) throw new Error(`The reflector of ${this.kind} was started before`)
    this.#started = true
    this.#turnedMs = this.#clock.monotonicMs()
    const { pause = systemPause } = this.#options
    while (!signal.aborted) {
      const waitMs = await this.#turn(signal)
      this.#turnedMs = this.#clock.monotonicMs()
      if (waitMs > 0 && !signal.aborted) await pause(waitMs, signal)
    }
  }

  /** One list if need be, and one watch. How long to wait before the next. */
  async #turn(signal: AbortSignal): Promise<number> {
    let watchingMs: number | undefined
    let failure: unknown
    try {
      if (this.#version === undefined) await this.#list(signal)
      watchingMs = this.#clock.monotonicMs()
      await this.#watch(this.#version ?? '', signal)
    } catch (error) {
      failure = error
    }
    if (signal.aborted) return 0
    const lastedMs = watchingMs === undefined ? 0 : this.#clock.monotonicMs() - watchingMs
    if (lastedMs >= healthyMs) this.#failures = 0
    if (failure !== undefined) this.#note(failure)
    if (lastedMs >= healthyMs && this.#version !== undefined) return 0
    this.#failures += 1
    if (failure !== undefined && this.#failures % watchFailuresMax === 0) this.#version = undefined
    const fullMs = Math.min(backoffMs.first * 2 ** (this.#failures - 1), backoffMs.max)
    return fullMs * (0.5 + this.#random() / 2)
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { transport, kind, metadataOnly, namespace, labelSelector, fieldSelector } = this.#options
    const list = await listAll(transport, kind, {
      ...(namespace !== undefined && { namespace }),
      ...(labelSelector !== undefined && { labelSelector }),
      ...(fieldSelector !== undefined && { fieldSelector }),
      metadataOnly,
      signal,
      onPage: () => this.#heard(),
    })
    if (signal.aborted) return
    this.#objects.replace(list.items)
    this.#version = list.resourceVersion
  }

  /** Returns when the server ends the watch; rejects when it should not go on from where it was. */
  async #watch(version: string, signal: AbortSignal): Promise<void> {
    const query = selectionQuery(this.#options)
    query.set('watch', 'true')
    query.set('allowWatchBookmarks', 'true')
    query.set('resourceVersion', version)
    // At random: a hundred clients that lost one server together do not come back together for ever.
    query.set('timeoutSeconds', String(300 + Math.floor(this.#random() * 301)))
    const ending = new AbortController()
    const follow = () => ending.abort(signal.reason)
    if (signal.aborted) return
    signal.addEventListener('abort', follow, { once: true })
    let guard: (() => void) | undefined
    try {
      const body = await this.#options.transport.open(
        {
          method: 'GET',
          path: `${this.#path}?${query.toString()}`,
          accept: acceptOf(this.#options.metadataOnly, 'PartialObjectMetadata'),
        },
        ending.signal,
      )
      const listen = () => {
        guard?.()
        guard = (this.#options.after ?? systemAfter)(silentMsMax, () =>
          ending.abort(new ApiUnreachableError(`the watch was silent for ${silentMsMax} ms`)),
        )
      }
      listen()
      this.#turnedMs = this.#clock.monotonicMs()
      this.#trouble = undefined
      const heard = () => {
        this.#heard()
        listen()
      }
      for await (const event of readWatch(body, heard)) {
        if (ending.signal.aborted) break
        this.#take(event)
      }
    } catch (error) {
      throw ending.signal.aborted ? ending.signal.reason : error
    } finally {
      guard?.()
      signal.removeEventListener('abort', follow)
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type === 'ERROR') throw errorOfStatus(object)
    if (type === 'BOOKMARK') {
      const bookmark = Bookmark.safeParse(object)
      if (!bookmark.success) throw new WatchBrokenError('a bookmark without a version')
      this.#version = bookmark.data.metadata.resourceVersion
      return
    }
    const heard = this.#parse(object)
    if (type !== 'DELETED') this.#objects.put(heard)
    else if (!this.#objects.remove(heard)) {
      throw new WatchBrokenError('something was deleted that had been recreated before')
    }
    this.#version = heard.metadata.resourceVersion
  }

  #parse(object: unknown) {
    try {
      return objectOf(this.#options.kind, object)
    } catch (error) {
      throw new WatchBrokenError('an event of the watch bears no object', { cause: error })
    }
  }

  #note(error: unknown): void {
    const expired = isApiError(error, 'Expired', 'Gone')
    if (expired || error instanceof WatchBrokenError) this.#version = undefined
    const message = error instanceof Error ? error.message : String(error)
    const before = this.#trouble
    this.#trouble = `${this.kind}: ${message}`
    // The same again at each attempt would fill the log for as long as the server is away.
    const level = this.#trouble === before || expired ? 'debug' : 'warn'
    this.#options.log[level]({ err: error, kind: this.kind }, 'the API server is not followed')
  }

  #heard(): void {
    this.#heardMs = this.#clock.monotonicMs()
    this.#turnedMs = this.#heardMs
  }

  #random(): number {
    return (this.#options.random ?? Math.random)()
  }
}
