import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HistoryPage, Position, Publication } from '../broker/broker.js'
import { mergeNewest, mergeRecovered, type Recovered } from './recovery.js'

const epoch = 'e1'
const generation = 2 ** 32

const at = (offset: number, of = epoch): Position => ({ epoch: of, offset })
const publication = (offset: number, of = epoch): Publication => ({
  data: Buffer.from(`"${of}/${offset}"`),
  epoch: offset === 0 ? '' : of,
  offset,
  timeMs: 1,
})
const publications = (...offsets: number[]): Publication[] => offsets.map((offset) => publication(offset))
const pageOf = (offsets: number[], top: number, options: Partial<HistoryPage> = {}): HistoryPage => ({
  publications: publications(...offsets),
  top: at(top),
  continuous: true,
  ...options,
})
const offsetsOf = (list: readonly Publication[]): number[] => list.map(({ offset }) => offset)

function expectWhole(merged: Recovered, expected: { offsets: number[]; top: number }): void {
  expect(merged.kind).toBe('whole')
  if (merged.kind !== 'whole') return
  expect({ offsets: offsetsOf(merged.publications), top: merged.top }).toEqual({
    ...expected,
    top: at(expected.top),
  })
}

function expectGap(merged: Recovered, expected: { reason: string; top: Position; after: number[] }): void {
  expect(merged.kind).toBe('gap')
  if (merged.kind !== 'gap') return
  expect({ ...merged, kind: undefined, after: offsetsOf(merged.after) }).toEqual({
    ...expected,
    kind: undefined,
  })
}

describe('mergeRecovered: whole', () => {
  const limit = 10

  test('when nothing was missed and nothing arrived', () => {
    expectWhole(mergeRecovered({ since: at(5), page: pageOf([], 5), live: [], limit }), {
      offsets: [],
      top: 5,
    })
  })

  test('contains missed publications, then what arrived', () => {
    const merged = mergeRecovered({ since: at(2), page: pageOf([3, 4], 4), live: publications(5, 6), limit })
    expectWhole(merged, { offsets: [3, 4, 5, 6], top: 6 })
  })

  test('contains once what is in the page and also arrived', () => {
    const merged = mergeRecovered({
      since: at(2),
      page: pageOf([3, 4], 4),
      live: publications(3, 4, 5),
      limit,
    })
    expectWhole(merged, { offsets: [3, 4, 5], top: 5 })
  })

  test('drops what arrived but is not after `since`', () => {
    expectWhole(mergeRecovered({ since: at(4), page: pageOf([], 4), live: publications(3, 4, 5), limit }), {
      offsets: [5],
      top: 5,
    })
  })

  test('accepts the beginning of a stream as a position', () => {
    expectWhole(mergeRecovered({ since: at(0), page: pageOf([1, 2], 2), live: [], limit }), {
      offsets: [1, 2],
      top: 2,
    })
  })

  test('matches any epoch with an empty one', () => {
    const merged = mergeRecovered({ since: at(0, ''), page: pageOf([1, 2], 2), live: publications(3), limit })
    expectWhole(merged, { offsets: [1, 2, 3], top: 3 })
  })

  test('without `since` starts at the top, with what arrived after it', () => {
    const merged = mergeRecovered({
      since: undefined,
      page: pageOf([], 5),
      live: publications(4, 5, 6),
      limit,
    })
    expectWhole(merged, { offsets: [6], top: 6 })
  })

  test('without `since` keeps the publications of the page, whatever their order', () => {
    const merged = mergeRecovered({
      since: undefined,
      page: pageOf([5, 4], 5),
      live: publications(6),
      limit: 1,
    })
    expectWhole(merged, { offsets: [4, 5, 6], top: 6 })
  })

  test('puts publications without a position last, in their order', () => {
    const live = [publication(0), publication(6), publication(0)]
    expectWhole(mergeRecovered({ since: at(4), page: pageOf([5], 5), live, limit }), {
      offsets: [5, 6, 0, 0],
      top: 6,
    })
  })

  test('contains only those on a channel without history', () => {
    expectWhole(mergeRecovered({ since: undefined, page: pageOf([], 0), live: publications(0, 0), limit }), {
      offsets: [0, 0],
      top: 0,
    })
  })

  test('does not treat a new generation as a gap', () => {
    const page = pageOf([6, generation, generation + 1], generation + 1)
    const merged = mergeRecovered({ since: at(5), page, live: publications(3 * generation), limit })
    expectWhole(merged, { offsets: [6, generation, generation + 1, 3 * generation], top: 3 * generation })
  })

  test('accepts as many as the limit, not counting what arrived', () => {
    const merged = mergeRecovered({
      since: at(1),
      page: pageOf([2, 3], 3),
      live: publications(4, 5),
      limit: 2,
    })
    expectWhole(merged, { offsets: [2, 3, 4, 5], top: 5 })
  })

  test('drops what arrived of an older stream before the page was read', () => {
    const live = [publication(9, 'e0'), publication(6)]
    expectWhole(mergeRecovered({ since: undefined, page: pageOf([], 5), live, limit }), {
      offsets: [6],
      top: 6,
    })
  })
})

describe('mergeRecovered: gap', () => {
  const limit = 10

  test('epoch: the position belongs to another stream', () => {
    const page = pageOf([], 5, { continuous: false })
    const merged = mergeRecovered({ since: at(3, 'e0'), page, live: publications(5, 6), limit })
    expectGap(merged, { reason: 'epoch', top: at(5), after: [6] })
  })

  test('epoch: the stream was replaced while the page was read', () => {
    const live = [publication(6), publication(3, 'e2'), publication(4, 'e2')]
    const merged = mergeRecovered({ since: at(4), page: pageOf([5], 5), live, limit })
    expectGap(merged, { reason: 'epoch', top: at(2, 'e2'), after: [3, 4] })
  })

  test('trimmed: the page does not reach back', () => {
    const page = pageOf([4, 5], 5, { continuous: false })
    const merged = mergeRecovered({ since: at(1), page, live: publications(5, 6), limit })
    expectGap(merged, { reason: 'trimmed', top: at(5), after: [6] })
  })

  test('ahead: the stream ends before the position', () => {
    const page = pageOf([], 5, { continuous: false })
    expectGap(mergeRecovered({ since: at(9), page, live: publications(6), limit }), {
      reason: 'ahead',
      top: at(5),
      after: [6],
    })
  })

  test('tooMany: more than the limit', () => {
    const merged = mergeRecovered({
      since: at(1),
      page: pageOf([2, 3, 4], 4),
      live: publications(5),
      limit: 2,
    })
    expectGap(merged, { reason: 'tooMany', top: at(4), after: [5] })
  })

  test('tooMany: the page was cut before the top', () => {
    const merged = mergeRecovered({ since: at(1), page: pageOf([2, 3], 9), live: publications(9, 10), limit })
    expectGap(merged, { reason: 'tooMany', top: at(9), after: [10] })
  })

  test('hole: an offset is missing after `since`', () => {
    const merged = mergeRecovered({ since: at(1), page: pageOf([3, 4], 4), live: [], limit })
    expectGap(merged, { reason: 'hole', top: at(4), after: [] })
  })

  test('hole: an offset is missing between the page and what arrived', () => {
    const merged = mergeRecovered({ since: at(1), page: pageOf([2, 3], 3), live: publications(5), limit })
    expectGap(merged, { reason: 'hole', top: at(3), after: [5] })
  })

  test('hole: also without `since`', () => {
    const merged = mergeRecovered({ since: undefined, page: pageOf([], 3), live: publications(5), limit })
    expectGap(merged, { reason: 'hole', top: at(3), after: [5] })
  })

  test('publications without a position are still delivered', () => {
    const page = pageOf([], 5, { continuous: false })
    const merged = mergeRecovered({ since: at(1), page, live: publications(0, 6, 0), limit })
    expectGap(merged, { reason: 'trimmed', top: at(5), after: [6, 0, 0] })
  })
})

/**
 * A stream and what a subscriber may see of it: its position, the page read up to a later position, and what
 * arrived from a position at or before the end of the page. `jumps` marks where offsets jump to a new
 * generation.
 */
const situations = fc
  .record({
    jumps: fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
    cuts: fc.tuple(fc.nat(30), fc.nat(30), fc.nat(30)),
  })
  .map(({ jumps, cuts }) => {
    const stream: number[] = []
    for (const jump of jumps) {
      const previous = stream.at(-1) ?? 0
      stream.push(jump ? (Math.floor(previous / generation) + 1) * generation : previous + 1)
    }
    const [a, b, c] = cuts.map((cut) => Math.min(cut, stream.length)).toSorted((x, y) => x - y) as [
      number,
      number,
      number,
    ]
    // Two orders are possible: arrival begins before or after the subscriber's position.
    const [position, liveFrom, read] = cuts[0] % 2 === 0 ? [a, b, c] : [b, a, c]
    return { stream, position, liveFrom, read, since: stream[position - 1] ?? 0, top: stream[read - 1] ?? 0 }
  })

describe('mergeRecovered, for any input', () => {
  test('is whole with the union of missed and arrived publications, each once and in order', () => {
    fc.assert(
      fc.property(situations, fc.boolean(), ({ stream, position, liveFrom, read, since, top }, twice) => {
        const page = pageOf(stream.slice(position, read), top)
        const arrived = stream.slice(liveFrom)
        const live = publications(...(twice ? arrived.flatMap((offset) => [offset, offset]) : arrived))
        const merged = mergeRecovered({ since: at(since), page, live, limit: 30 })
        expectWhole(merged, { offsets: stream.slice(position), top: stream.at(-1) ?? 0 })
      }),
    )
  })

  test('is a gap where an offset is missing within a generation, and loses nothing that arrived after the top', () => {
    fc.assert(
      fc.property(situations, fc.nat(), ({ stream, position, liveFrom, read, since, top }, pick) => {
        const inner = stream.slice(position, -1).filter((offset) => {
          const [before, after] = [offset - 1, offset + 1]
          return (stream.includes(before) || before === since) && stream.includes(after)
        })
        fc.pre(inner.length > 0)
        const missing = inner[pick % inner.length]
        const without = (offsets: number[]): number[] => offsets.filter((offset) => offset !== missing)
        const page = pageOf(without(stream.slice(position, read)), top)
        const live = publications(...without(stream.slice(liveFrom)))
        const merged = mergeRecovered({ since: at(since), page, live, limit: 30 })
        // Without its last publication, the page looks cut.
        expectGap(merged, {
          reason: missing === top ? 'tooMany' : 'hole',
          top: at(top),
          after: without(stream.slice(read)),
        })
      }),
    )
  })

  test('returns what arrived above the top for every gap', () => {
    fc.assert(
      fc.property(situations, fc.nat(5), ({ stream, position, liveFrom, read, since, top }, limit) => {
        const page = pageOf(stream.slice(position, read).slice(0, limit + 1), top)
        const merged = mergeRecovered({
          since: at(since),
          page,
          live: publications(...stream.slice(liveFrom)),
          limit,
        })
        if (read - position <= limit)
          expectWhole(merged, { offsets: stream.slice(position), top: stream.at(-1) ?? 0 })
        else expectGap(merged, { reason: 'tooMany', top: at(top), after: stream.slice(read) })
      }),
    )
  })
})

describe('mergeNewest', () => {
  const newest = (since: Position, page: HistoryPage, ...live: number[]): Recovered =>
    mergeNewest({ since, page, live: publications(...live), wants: () => true })

  test('returns only the newest, from the page or from what arrived', () => {
    expectWhole(newest(at(2), pageOf([9], 9)), { offsets: [9], top: 9 })
    expectWhole(newest(at(2), pageOf([9], 9), 8, 9), { offsets: [9], top: 9 })
    expectWhole(newest(at(2), pageOf([9], 9), 9, 10), { offsets: [10], top: 10 })
    expectWhole(newest(at(2), pageOf([], 9), 10), { offsets: [10], top: 10 })
  })

  test('also for a position of another epoch, or without an epoch', () => {
    expectWhole(newest(at(12, 'e0'), pageOf([9], 9)), { offsets: [9], top: 9 })
    expectWhole(newest(at(0, ''), pageOf([9], 9)), { offsets: [9], top: 9 })
  })

  test('returns nothing when the client already has it', () => {
    expectWhole(newest(at(9), pageOf([9], 9)), { offsets: [], top: 9 })
    expectWhole(newest(at(9), pageOf([], 9)), { offsets: [], top: 9 })
  })

  test('puts publications without a position after it', () => {
    expectWhole(newest(at(2), pageOf([9], 9), 0, 10, 0), { offsets: [10, 0, 0], top: 10 })
  })

  test('is a gap when history no longer contains it', () => {
    expectGap(newest(at(2), pageOf([], 9), 0), { reason: 'trimmed', top: at(9), after: [0] })
    expectGap(newest(at(2), pageOf([8], 9)), { reason: 'trimmed', top: at(9), after: [] })
  })

  test('returns the newest of the expected publications', () => {
    const even = (since: Position, page: HistoryPage, ...live: number[]): Recovered =>
      mergeNewest({ since, page, live: publications(...live), wants: ({ offset }) => offset % 2 === 0 })
    const page = pageOf([9, 8, 7, 6], 9)
    expectWhole(even(at(2), page), { offsets: [8], top: 9 })
    expectWhole(even(at(2), page, 9, 10, 11), { offsets: [10], top: 11 })
    expectWhole(even(at(2), page, 7, 8), { offsets: [8], top: 9 })
    expectWhole(even(at(8), page), { offsets: [], top: 9 })
    expectWhole(even(at(8), pageOf([9], 9)), { offsets: [], top: 9 })
    expectWhole(even(at(8, 'e0'), page), { offsets: [8], top: 9 })
    expectGap(even(at(2), pageOf([8], 9)), { reason: 'trimmed', top: at(9), after: [] })
  })

  test('returns the newest of a stream that was replaced meanwhile', () => {
    const live = [publication(1, 'e2')]
    const merged = mergeNewest({ since: at(9), page: pageOf([9], 9), live, wants: () => true })
    expect(merged).toEqual({ kind: 'whole', publications: live, top: at(1, 'e2') })
  })
})
