// Tells people what happened to their object, in `kubectl describe`. Repetitions count up; an object that has a lot to say is cut short.
import { randomBytes } from 'node:crypto'
import type { Log } from '../log.js'
import type { After, Clock } from '../time.js'
import type { EventFacts, EventRecorder, ObjectApi } from './ports.js'
import type { ApiObject, ResourceKind } from './object.js'
import { microTimeText } from './timestamps.js'

const eventKind: ResourceKind = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
}

export interface EventsOptions {
  readonly objects: Pick<ObjectApi, 'apply'>
  /** `parley.chat/controller`. */
  readonly reportingController: string
  /** Which of them: the pod. */
  readonly reportingInstance: string
  readonly clock: Clock
  readonly after: After
  readonly log: Log
  /** An event that nobody will read: too many, or refused. */
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
  /** Not the object itself: it would be held for as long as its series, in a version that is long gone. */
  readonly regarding: Regarding
  readonly facts: EventFacts
  readonly firstMs: number
  count: number
  lastMs: number
  /** As the server has it. */
  written: number
  cancel: (() => void) | undefined
}

/** As client-go has it: the same again within six minutes is the same event. */
const seriesMs = 360_000
/** Counting up is written this often at most. */
const writePauseMs = 10_000
/** Per object: so many at once, and one more every five minutes. */
const burst = 25
const refillMs = 300_000
const waitingMax = 1_000
/** At the end: whoever leads next should not wait for what is worth less than its turn. */
const closeMsMax = 1_000
const noteBytesMax = 1_024

export class Events implements EventRecorder {
  readonly #options: EventsOptions
  readonly #series = new Map<string, Series>()
  readonly #budgets = new Map<string, { tokens: number; filledMs: number }>()
  #writing: Promise<void> = Promise.resolve()
  #waiting = 0
  #closed = false
  #forgetting: (() => void) | undefined

  constructor(options: EventsOptions) {
    this.#options = options
  }

  event(regarding: ApiObject, facts: EventFacts): void {
    if (this.#closed) return
    const nowMs = this.#options.clock.epochMs()
    this.#forgetLater()
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
      written: 0,
      cancel: undefined,
    }
    this.#series.set(key, started)
    this.#write(started)
  }

  /** Resolves when all that is known is written, or was refused, or a second is over. Nothing is taken after that. */
  async close(): Promise<void> {
    this.#closed = true
    this.#forgetting?.()
    for (const series of this.#series.values()) {
      series.cancel?.()
      this.#write(series)
    }
    let cancel = () => {}
    const tooLong = new Promise<void>((resolve) => (cancel = this.#options.after(closeMsMax, resolve)))
    await Promise.race([this.#writing, tooLong])
    cancel()
  }

  /** Series and budgets that are kept: both shrink. */
  get size(): number {
    return this.#series.size + this.#budgets.size
  }

  /** Also when nothing happens any more: thousands may have been told of at once. */
  #forgetLater(): void {
    this.#forgetting ??= this.#options.after(seriesMs, () => {
      this.#forgetting = undefined
      this.#forget(this.#options.clock.epochMs())
      if (this.size > 0) this.#forgetLater()
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
    const was = this.#budgets.get(uid) ?? { tokens: burst, filledMs: nowMs }
    const tokens = Math.min(burst, was.tokens + (nowMs - was.filledMs) / refillMs)
    this.#budgets.set(uid, { tokens: tokens < 1 ? tokens : tokens - 1, filledMs: nowMs })
    return tokens >= 1
  }

  #writeLater(series: Series): void {
    if (series.cancel) return
    series.cancel = this.#options.after(writePauseMs, () => {
      series.cancel = undefined
      this.#write(series)
    })
  }

  /** One after the other: events have time. */
  #write(series: Series): void {
    if (this.#waiting >= waitingMax) return this.#options.onDropped?.()
    this.#waiting += 1
    this.#writing = this.#writing.then(async () => {
      this.#waiting -= 1
      const { count } = series
      // What was counted while it waited for its turn is told already.
      if (series.written === count) return
      try {
        await this.#options.objects.apply(eventKind, this.#eventOf(series))
        series.written = count
      } catch (error) {
        this.#options.onDropped?.()
        this.#options.log.debug({ err: error, reason: series.facts.reason }, 'an event could not be written')
      }
    })
  }

  /** Applied whole each time: one that the server has thrown away meanwhile (after an hour) is there again. */
  #eventOf({ name, regarding, facts, firstMs, count, lastMs }: Series) {
    return {
      // Events on what lives in no namespace live in `default`: `kubectl describe` looks there.
      metadata: { name, namespace: regarding.namespace ?? 'default' },
      eventTime: microTimeText(firstMs),
      type: facts.type,
      reason: facts.reason,
      action: facts.action,
      note: facts.message,
      reportingController: this.#options.reportingController,
      reportingInstance: this.#options.reportingInstance.slice(0, 128),
      regarding,
      // The server wants at least two of a series.
      ...(count > 1 && { series: { count, lastObservedTime: microTimeText(lastMs) } }),
    }
  }
}

function regardingOf({ apiVersion, kind, metadata }: ApiObject): Regarding {
  const { name, namespace, resourceVersion, uid } = metadata
  return { apiVersion, kind, name, namespace, uid, resourceVersion }
}

/** At most 1,024 bytes, which is what the server takes, and no half character. */
function cut(message: string): string {
  const bytes = Buffer.from(message)
  if (bytes.byteLength <= noteBytesMax) return message
  const ellipsis = '…'
  const whole = bytes.subarray(0, noteBytesMax - Buffer.byteLength(ellipsis)).toString()
  return `${whole.replace(/\uFFFD+$/u, '')}${ellipsis}`
}
