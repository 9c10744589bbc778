import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairQueue, priorities, type Priority, type Place } from './fair-queue.js'

const normal = (group: string): Place => ({ priority: 'normal', group })
const urgent = (group: string): Place => ({ priority: 'urgent', group })

function takeAll(waiting: FairQueue<string>): string[] {
  const taken: string[] = []
  for (let item = waiting.take(); item !== undefined; item = waiting.take()) taken.push(item)
  return taken
}

test('groups take turns, and the items of one group keep their order', () => {
  const waiting = new FairQueue<string>()
  for (const item of ['a1', 'a2', 'a3']) waiting.add(item, normal('a'))
  waiting.add('b1', normal('b'))
  waiting.add('c1', normal('c'))
  expect(takeAll(waiting)).toEqual(['a1', 'b1', 'c1', 'a2', 'a3'])
})

test('a thousand items of one group delay the item of another group by one', () => {
  const waiting = new FairQueue<string>()
  for (let item = 0; item < 1_000; item += 1) waiting.add(`a${item}`, normal('a'))
  waiting.take()
  waiting.add('b', normal('b'))
  expect([waiting.take(), waiting.take()]).toContain('b')
})

test('an urgent item precedes the others, also those of its own group', () => {
  const waiting = new FairQueue<string>()
  for (const item of ['a1', 'a2']) waiting.add(item, normal('a'))
  waiting.add('a!', urgent('a'))
  expect(waiting.take()).toBe('a!')
})

test('a flood of urgent items leaves one turn in four to the others', () => {
  const waiting = new FairQueue<string>()
  for (let item = 0; item < 100; item += 1) waiting.add(`a${item}`, urgent('a'))
  waiting.add('b', normal('b'))
  const taken = takeAll(waiting)
  expect(taken.indexOf('b')).toBe(3)
})

test('urgent items of two groups take turns', () => {
  const waiting = new FairQueue<string>()
  for (let item = 0; item < 100; item += 1) waiting.add(`a${item}`, urgent('a'))
  waiting.add('b', urgent('b'))
  expect(takeAll(waiting).indexOf('b')).toBe(1)
})

test('a group that may not be taken keeps its turn, and does not block others', () => {
  const waiting = new FairQueue<string>()
  for (const item of ['a1', 'a2']) waiting.add(item, normal('a'))
  waiting.add('b1', normal('b'))
  expect(waiting.take(({ group }) => group !== 'a')).toBe('b1')
  expect(waiting.take(({ group }) => group !== 'a')).toBeUndefined()
  expect(takeAll(waiting)).toEqual(['a1', 'a2'])
})

test('the largest group is found over all priorities', () => {
  const waiting = new FairQueue<string>()
  expect(waiting.largest()).toBeUndefined()
  for (const [index, place] of [normal('a'), normal('b'), urgent('b'), normal('c')].entries())
    waiting.add(`${index}`, place)
  expect(waiting.largest()).toEqual({ group: 'b', size: 2 })
  expect(waiting.sizeOf('b')).toBe(2)
  waiting.clear()
  expect([waiting.size, waiting.largest(), waiting.take()]).toEqual([0, undefined, undefined])
})

describe('for any sequence of additions and removals', () => {
  const place = fc.record({
    priority: fc.constantFrom<Priority>(...priorities),
    group: fc.constantFrom('a', 'b', 'c'),
  })
  const places = fc.array(place, { maxLength: 60 })

  test('no item is lost and none is taken twice', () => {
    fc.assert(
      fc.property(places, fc.array(fc.nat(), { maxLength: 20 }), (added, removed) => {
        const waiting = new FairQueue<string>()
        const left = new Set<string>()
        for (const [index, where] of added.entries()) {
          waiting.add(`${index}`, where)
          left.add(`${index}`)
        }
        for (const index of removed) {
          const where = added[index]
          if (where) waiting.remove(`${index}`, where)
          left.delete(`${index}`)
        }
        expect(waiting.size).toBe(left.size)
        expect(takeAll(waiting).toSorted()).toEqual([...left].toSorted())
        expect(waiting.size).toBe(0)
      }),
    )
  })

  test('within a priority, no group is taken twice while another one has waited for its turn', () => {
    fc.assert(
      fc.property(places, (added) => {
        const waiting = new FairQueue<Place>()
        const counts = new Map<string, number>()
        const nameOf = ({ group, priority }: Place) => `${priority} ${group}`
        for (const where of added) {
          waiting.add({ ...where }, where)
          counts.set(nameOf(where), (counts.get(nameOf(where)) ?? 0) + 1)
        }
        const turns = new Map<string, number>()
        for (let taken = waiting.take(); taken; taken = waiting.take()) {
          const name = nameOf(taken)
          turns.set(name, (turns.get(name) ?? 0) + 1)
          for (const group of ['a', 'b', 'c']) {
            const other = nameOf({ priority: taken.priority, group })
            const isWaiting = (turns.get(other) ?? 0) < (counts.get(other) ?? 0)
            if (isWaiting) expect((turns.get(name) ?? 0) - (turns.get(other) ?? 0)).toBeLessThanOrEqual(1)
          }
        }
      }),
    )
  })

  test('an item waits for at most three items of preceding priorities for each one of its own', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 20 }), (flood, others) => {
        const waiting = new FairQueue<string>()
        for (let item = 0; item < flood; item += 1) waiting.add(`a${item}`, urgent('a'))
        for (let item = 0; item < others; item += 1) waiting.add(`b${item}`, normal('b'))
        const positions = takeAll(waiting).flatMap((item, index) => (item.startsWith('b') ? index : []))
        for (const [turn, index] of positions.entries()) expect(index).toBeLessThanOrEqual(4 * turn + 3)
      }),
    )
  })
})
