import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HistoryPage, HistoryQuery, Publication } from './broker.js'
import { MemoryStream } from './memory-stream.js'

const epoch = 'e1'

/** A simple model of the stream: a list that is filtered as a whole each time. */
class NaiveStream {
  #all: { publication: Publication; atMs: number }[] = []
  #topOffset = 0
  #ttlMs = 0

  append(data: Uint8Array, options: { size: number; ttlMs: number; nowMs: number }): void {
    this.#topOffset += 1
    this.#ttlMs = options.ttlMs
    const publication = { data, timeMs: 0, epoch, offset: this.#topOffset }
    this.#all = [...this.#all, { publication, atMs: options.nowMs }].slice(-options.size)
    this.#expire(options.nowMs)
  }

  /** Removes entries permanently: a longer time to live later does not restore them. */
  #expire(nowMs: number): void {
    this.#all = this.#all.filter((entry) => nowMs - entry.atMs < this.#ttlMs)
  }

  clear(): void {
    this.#all = []
  }

  page(query: HistoryQuery, nowMs: number): HistoryPage {
    this.#expire(nowMs)
    const kept = this.#all.map((entry) => entry.publication)
    const { since } = query
    const known = since === undefined || since.epoch === '' || since.epoch === epoch
    const matching = kept.filter(
      ({ offset }) => since === undefined || (query.reverse ? offset < since.offset : offset > since.offset),
    )
    const ordered = query.reverse ? matching.toReversed() : matching
    const missing = since
      ? this.#offsetsAfter(since.offset).filter((offset) => !kept.some((one) => one.offset === offset))
      : []
    return {
      publications: known ? ordered.slice(0, Math.min(query.limit, 1000)) : [],
      top: { epoch, offset: this.#topOffset },
      continuous: known && missing.length === 0 && (since?.offset ?? 0) <= this.#topOffset,
    }
  }

  count(nowMs: number): number {
    return this.page({ limit: 1000 }, nowMs).publications.length
  }

  #offsetsAfter(since: number): number[] {
    return Array.from({ length: this.#topOffset }, (_, index) => index + 1).filter((offset) => offset > since)
  }
}

type Step =
  | { readonly kind: 'append'; readonly size: number; readonly ttlMs: number; readonly bytes: number }
  | { readonly kind: 'clear' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'page'; readonly query: HistoryQuery }

const sinces = fc.record({
  epoch: fc.constantFrom(epoch, epoch, epoch, '', 'other'),
  offset: fc.nat({ max: 40 }),
})
const queries: fc.Arbitrary<HistoryQuery> = fc.record(
  { since: sinces, limit: fc.nat({ max: 12 }), reverse: fc.boolean() },
  { requiredKeys: ['limit'] },
)
const appends = fc.record({
  kind: fc.constant('append' as const),
  size: fc.integer({ min: 1, max: 10 }),
  // Where times to live differ, a page may hold less than its limit.
  ttlMs: fc.constant(25),
  bytes: fc.nat({ max: 5 }),
})
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: appends },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 30 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('page' as const), query: queries }) },
)

describe('MemoryStream', () => {
  test('answers every query like a simple model', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), (script) => {
        const stream = new MemoryStream(epoch, 0)
        const naive = new NaiveStream()
        let nowMs = 0
        for (const step of script) {
          if (step.kind === 'wait') nowMs += step.ms
          if (step.kind === 'page')
            expect(stream.page(step.query, nowMs)).toEqual(naive.page(step.query, nowMs))
          if (step.kind === 'clear') {
            stream.clear()
            naive.clear()
          }
          if (step.kind === 'append') {
            const data = new Uint8Array(step.bytes)
            stream.append({ data, timeMs: 0 }, { ...step, nowMs })
            naive.append(data, { ...step, nowMs })
          }
        }
        stream.trim(nowMs)
        expect(stream.count).toBe(naive.count(nowMs))
      }),
    )
  })

  test('counts the bytes of the publications that it keeps', () => {
    fc.assert(
      fc.property(fc.array(appends, { maxLength: 30 }), (script) => {
        const stream = new MemoryStream(epoch, 0)
        const info = { user: 'u', client: 'c', info: new Uint8Array(3) }
        for (const { size, bytes } of script)
          stream.append({ data: new Uint8Array(bytes), timeMs: 0, info }, { size, ttlMs: 1, nowMs: 0 })
        const kept = stream.page({ limit: 1000 }, 0).publications
        expect(stream.bytes).toBe(kept.reduce((sum, { data }) => sum + data.byteLength + 3, 0))
      }),
    )
  })

  test('keeps its order while the slots of trimmed entries are reclaimed many times', () => {
    const stream = new MemoryStream(epoch, 0)
    for (let offset = 1; offset <= 2000; offset += 1) {
      stream.append({ data: new Uint8Array(1), timeMs: 0 }, { size: 100, ttlMs: 1, nowMs: 0 })
      const [oldest] = stream.page({ limit: 1 }, 0).publications
      expect(oldest?.offset).toBe(Math.max(1, offset - 99))
    }
    expect(stream.bytes).toBe(100)
  })

  test('returns at most a thousand publications', () => {
    const stream = new MemoryStream(epoch, 0)
    for (let n = 0; n < 1100; n += 1)
      stream.append({ data: new Uint8Array(1), timeMs: 0 }, { size: 2000, ttlMs: 1, nowMs: 0 })
    expect(stream.page({ limit: 1100 }, 0).publications).toHaveLength(1000)
    expect(stream.page({ limit: 1100, reverse: true }, 0).publications.at(-1)?.offset).toBe(101)
  })

  test('idleMs() is the time since the last write', () => {
    const stream = new MemoryStream(epoch, 10)
    expect(stream.idleMs(30)).toBe(20)
    stream.append({ data: new Uint8Array(1), timeMs: 0 }, { size: 1, ttlMs: 1, nowMs: 30 })
    expect(stream.idleMs(30)).toBe(0)
    stream.page({ limit: 0 }, 50)
    expect(stream.idleMs(60)).toBe(30)
  })
})
