// Writes Kubernetes Events, which `kubectl describe` shows beside the object. Equal Events are counted in one
// object, and each object has a budget of Events. Namespaces take turns.
import { randomBytes } from 'node:crypto'
import type { Log } from '../log.js'
import type { After, Clock } from '../time.js'
import { FairQueue, type Place } from './fair-queue.js'
import type { EventFacts, EventRecorder, ObjectApi } from './ports.js'
import type { ApiObject, ResourceKind } from './object.js'
import { microTimestamp } from './timestamps.js'

const eventKind: ResourceKind = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
}

export interface EventsOptions {
  readonly objects: Pick<ObjectApi, 'apply'>
  /** The name of the controller, such as `example.com/controller`. */
  readonly reportingController: string
  /** The instance of the controller, such as the pod's name. Longer values are cut to 128 characters. */
  readonly reportingInstance: string
  readonly clock: Clock
  readonly after: After
  readonly log: Log
  /** Called for each Event that is not written, because there were too many or the server refused it. */
  readonly onDropped?: () => void
}

interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly namespace: string | undefined
  readonly uid: string
  readonly resourceVersion: string
}

interface Series {
  readonly name: string
  /** A copy of the needed fields: a reference would keep an outdated version of the object in memory. */
  readonly regarding: Regarding
  readonly facts: EventFacts
  readonly firstMs: number
  count: number
  lastMs: number
  /** The count that was written last. */
  writtenCount: number
  /** Whether the series waits to be written. */
  waits: boolean
  /** Cancels the delayed write. Undefined when no write is due. */
  cancel: (() => void) | undefined
}

/** As in client-go: an equal Event within six minutes belongs to the same series. */
const seriesMs = 360_000
/** An increased count is written at most this often. */
const writeIntervalMs = 10_000
/** The budget of each object: 25 new Events at once, and one more every five minutes. */
const burst = 25
const refillMs = 300_000
/** The maximum number of Events that wait to be written. */
const waitingMax = 1_000
/** The time limit of `close`, because the next leader must not wait for Events. */
const closeMsMax = 1_000
const noteBytesMax = 1_024

export class Events implements EventRecorder {
  readonly #options: EventsOptions
  readonly #series = new Map<string, Series>()
  readonly #budgets = new Map<string, { tokens: number; filledMs: number }>()
  readonly #waiting = new FairQueue<Series>()
  /** The loop that writes the waiting Events. Undefined while none waits. */
  #writing: Promise<void> | undefined
  #closed = false
  #cancelForgetting: (() => void) | undefined

  constructor(options: EventsOptions) {
    this.#options = options
  }

  event(regarding: ApiObject, facts: EventFacts): void {
    if (this.#closed) return
    const nowMs = this.#options.clock.epochMs()
    this.#forgetOnTimer()
    const note = cut(facts.message)
    const key = [regarding.metadata.uid, facts.type, facts.reason, facts.action, note].join('\n')
    const series = this.#series.get(key)
    if (series && nowMs - series.lastMs < seriesMs) {
      series.count += 1
      series.lastMs = nowMs
      return this.#writeLater(series)
    }
    if (!this.#mayAdd(regarding.metadata.uid, nowMs)) return this.#options.onDropped?.()
    const started: Series = {
      name: `${regarding.metadata.name.slice(0, 200)}.${randomBytes(8).toString('hex')}`,
      regarding: regardingOf(regarding),
      facts: { ...facts, message: note },
      firstMs: nowMs,
      count: 1,
      lastMs: nowMs,
      writtenCount: 0,
      waits: false,
      cancel: undefined,
    }
    this.#series.set(key, started)
    this.#write(started)
  }

  /**
   * Writes all pending counts. Resolves when they are written or failed, after 1 s at most. Later Events are
   * ignored.
   */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelForgetting?.()
    for (const series of this.#series.values()) {
      series.cancel?.()
      this.#write(series)
    }
    let cancel = () => {}
    const timedOut = new Promise<void>((resolve) => (cancel = this.#options.after(closeMsMax, resolve)))
    await Promise.race([this.#writing, timedOut])
    cancel()
  }

  /** The number of series and budgets in memory. Both are removed after a while. */
  get size(): number {
    return this.#series.size + this.#budgets.size
  }

  /** Runs on a timer, so that memory is also freed after a burst of thousands of Events. */
  #forgetOnTimer(): void {
    this.#cancelForgetting ??= this.#options.after(seriesMs, () => {
      this.#cancelForgetting = undefined
      this.#forget(this.#options.clock.epochMs())
      if (this.size > 0) this.#forgetOnTimer()
    })
  }

  #forget(nowMs: number): void {
    for (const [key, { lastMs, cancel }] of this.#series) {
      if (nowMs - lastMs < seriesMs) continue
      if (!cancel) this.#series.delete(key)
    }
    for (const [uid, { filledMs, tokens }] of this.#budgets) {
      if (tokens + (nowMs - filledMs) / refillMs >= burst) this.#budgets.delete(uid)
    }
  }

  #mayAdd(uid: string, nowMs: number): boolean {
    const previous = this.#budgets.get(uid) ?? { tokens: burst, filledMs: nowMs }
    const tokens = Math.min(burst, previous.tokens + (nowMs - previous.filledMs) / refillMs)
    this.#budgets.set(uid, { tokens: tokens < 1 ? tokens : tokens - 1, filledMs: nowMs })
    return tokens >= 1
  }

  #writeLater(series: Series): void {
    if (series.cancel) return
    series.cancel = this.#options.after(writeIntervalMs, () => {
      series.cancel = undefined
      this.#write(series)
    })
  }

  /**
   * Queues a write. When the queue is full, the namespace with the most waiting Events loses one, so that it
   * cannot suppress the Events of others.
   */
  #write(series: Series): void {
    if (series.waits) return
    const place = placeOf(series)
    if (this.#waiting.size >= waitingMax) {
      this.#options.onDropped?.()
      const largest = this.#waiting.largest()
      if (!largest || this.#waiting.sizeOf(place.group) >= largest.size) return
      const dropped = this.#waiting.take(({ group }) => group === largest.group)
      if (dropped) dropped.waits = false
    }
    series.waits = true
    this.#waiting.add(series, place)
    this.#writing ??= this.#writeWaiting()
  }

  /** Writes one Event after the other, to keep the load low. */
  async #writeWaiting(): Promise<void> {
    for (let next = this.#waiting.take(); next; next = this.#waiting.take()) {
      next.waits = false
      await this.#send(next)
    }
    this.#writing = undefined
  }

  async #send(series: Series): Promise<void> {
    const { count } = series
    if (series.writtenCount === count) return
    try {
      await this.#options.objects.apply(eventKind, this.#eventOf(series))
      series.writtenCount = count
    } catch (error) {
      this.#options.onDropped?.()
      this.#options.log.debug({ err: error, reason: series.facts.reason }, 'cannot write an event')
    }
  }

  /**
   * Returns the complete object for each write, so that an Event that the server has removed (after an hour)
   * is created again.
   */
  #eventOf({ name, regarding, facts, firstMs, count, lastMs }: Series) {
    return {
      // Events about cluster-scoped objects are in `default`, where `kubectl describe` looks for them.
      metadata: { name, namespace: regarding.namespace ?? 'default' },
      eventTime: microTimestamp(firstMs),
      type: facts.type,
      reason: facts.reason,
      action: facts.action,
      note: facts.message,
      reportingController: this.#options.reportingController,
      reportingInstance: this.#options.reportingInstance.slice(0, 128),
      regarding,
      // The server requires a series to have a count of at least two.
      ...(count > 1 && { series: { count, lastObservedTime: microTimestamp(lastMs) } }),
    }
  }
}

function placeOf({ regarding }: Series): Place {
  return { priority: 'normal', group: regarding.namespace ?? '' }
}

function regardingOf({ apiVersion, kind, metadata }: ApiObject): Regarding {
  const { name, namespace, resourceVersion, uid } = metadata
  return { apiVersion, kind, name, namespace, uid, resourceVersion }
}

/** Cuts a message to 1,024 bytes, the server's limit, without splitting a character. */
function cut(message: string): string {
  const bytes = Buffer.from(message)
  if (bytes.byteLength <= noteBytesMax) return message
  const ellipsis = '…'
  const whole = bytes.subarray(0, noteBytesMax - Buffer.byteLength(ellipsis)).toString()
  return `${whole.replace(/\uFFFD+$/u, '')}${ellipsis}`
}
