import { describe, expect, test } from 'vitest'
import {
  companyOf,
  dataNodesIn,
  holdersOf,
  standsBy,
  usualOf,
  votersIn,
  type ClusterView,
} from './cluster-view.js'

const addressOf = (id: string) => ({ host: id, port: 6379 })

/** Of masters `id: [config epoch, first slot, last slot, health]`. */
type Told = Record<string, [number, number, number, ('suspected' | 'failed')?]>

function view(selfId: string, told: Told, elsewhere: Record<string, string> = {}): ClusterView {
  const masters = Object.entries(told).map(([id, [configEpoch, from, to, health = 'well' as const]]) => {
    const address = addressOf(elsewhere[id] ?? id)
    return [id, { id, address, configEpoch, ranges: [[from, to]], replicas: 1, health }] as const
  })
  return { kind: 'view', selfId, masters: new Map(masters), nodes: [] }
}

const before: Told = { a: [1, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }
/** After a failover of a to its replica x. */
const after: Told = { x: [4, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }

const hosts = (views: ClusterView[], ...slots: number[]) =>
  slots.map((slot) => holdersOf(slots, views).get(slot)?.address.host)

describe('the company of those who speak', () => {
  test('is more than half of the masters that one of them names, or all of them', () => {
    expect(companyOf([view('a', before), view('replica', before)])).toBe('few')
    expect(companyOf([view('a', before), view('replica', before), view('b', before)])).toBe('most')
    expect(companyOf([view('a', before), view('b', before), view('c', before)])).toBe('all')
    expect(companyOf([view('a', { a: [1, 0, 9], b: [2, 10, 19] })])).toBe('few')
  })

  test('is not that of a master of the past, which knows nothing of its successor', () => {
    expect(companyOf([view('a', before)])).toBe('few')
    expect(companyOf([view('a', before), view('x', after)])).toBe('few')
    expect(companyOf([view('b', after), view('x', after)])).toBe('most')
  })

  test('is none without slots', () => {
    expect(companyOf([view('a', {}), view('b', {})])).toBe('few')
    expect(companyOf([])).toBe('few')
  })
})

describe('who holds a slot', () => {
  test('the claim with the highest config epoch, whoever tells it', () => {
    const views = [view('a', before), view('b', after), view('c', before)]
    expect(hosts(views, 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
    expect(hosts(views.toReversed(), 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
  })

  test('of those who have not heard, none, as long as one has or had', () => {
    expect(hosts([view('a', before), view('c', after)], 0)).toEqual(['x'])
    const known = holdersOf([0, 100, 300], [view('b', { ...after, d: [5, 300, 399] })])
    const now = holdersOf([0, 100, 300], [view('a', before), view('c', before, { b: 'new-house' })], known)
    expect([...now.values()].map(({ address }) => address.host)).toEqual(['x', 'new-house', 'd'])
  })

  test('not who says himself that it is not his, whatever others remember', () => {
    const gone: Told = { a: [4, 0, 149], b: [5, 150, 199], c: [3, 200, 299] }
    // It missed that 100 to 149 went to a, and has heard of b's newer epoch since.
    const late: Told = { a: [4, 0, 99], b: [5, 100, 199], c: [3, 200, 299] }
    const views = [view('a', gone), view('b', gone), view('c', gone), view('replica', late)]
    expect(hosts(views, 100, 150)).toEqual(['a', 'b'])
    const known = holdersOf([100], [view('replica', late)])
    expect(holdersOf([100], views.slice(0, 3), known).get(100)?.address.host).toBe('a')
    // Who is asked so seldom that he told of an earlier epoch only has not said anything about it.
    expect(hosts([view('a', before), view('b', before), view('c', late)], 100)).toEqual(['b'])
    expect(hosts([view('b', before), view('c', { b: [4, 0, 199], c: [3, 200, 299] })], 0)).toEqual(['b'])
  })

  test('nobody, when nobody claims it', () => {
    expect(hosts([view('a', before)], 300)).toEqual([undefined])
  })

  test('is met where it says itself', () => {
    const views = [
      view('b', before, { a: 'old-house' }),
      view('a', before),
      view('c', before, { a: 'old-house' }),
    ]
    expect(hosts(views, 0)).toEqual(['a'])
    expect(hosts(views.toReversed(), 0)).toEqual(['a'])
  })
})

test('who was outvoted has no vote', () => {
  expect(votersIn([view('a', before), view('b', after), view('c', before)])).toEqual(new Set(['x', 'b', 'c']))
})

describe('data nodes', () => {
  test('are a voter’s own, the most that anybody names', () => {
    const { masters, ...rest } = view('b', before)
    const lonely = new Map([...masters].map(([id, master]) => [id, { ...master, replicas: 0 }]))
    const counts = dataNodesIn([view('a', after), { ...rest, masters: lonely }], new Set(['x', 'b']))
    expect(counts).toEqual(
      new Map([
        ['x', 2],
        ['b', 2],
      ]),
    )
  })

  test('are usual where half of the shards have so many; one that has none may only have lost it', () => {
    expect(usualOf([3, 3, 3])).toBe(3)
    expect(usualOf([2, 6, 2])).toBe(2)
    expect(usualOf([6, 3])).toBe(3)
    expect(usualOf([1, 2, 1])).toBe(2)
    expect(usualOf([1, 5, 1])).toBe(2)
    expect(usualOf([1, 1, 1])).toBe(1)
    expect(usualOf([])).toBe(0)
  })
})

describe('a master stands', () => {
  const voters = new Set(['a', 'b', 'c'])
  const stands = (...views: ClusterView[]) => standsBy(addressOf('a'), { views, voters })
  const suspecting: Told = { ...before, a: [1, 0, 99, 'suspected'] }
  const failing: Told = { ...before, a: [1, 0, 99, 'failed'] }

  test('when more than half of the masters see no trouble with it', () => {
    expect(stands(view('a', before), view('b', before), view('c', before))).toBe(true)
    expect(stands(view('b', before), view('c', before))).toBe(true)
    expect(stands(view('a', before), view('b', before), view('c', suspecting))).toBe(true)
  })

  test('not by its own word and its replicas’', () => {
    expect(stands(view('a', before), view('replica', before), view('other replica', before))).toBe(false)
  })

  test('not when one that may have voted holds it for failed', () => {
    expect(stands(view('a', before), view('b', before), view('c', failing))).toBe(false)
    expect(stands(view('a', before), view('b', before), view('c', before), view('replica', failing))).toBe(
      false,
    )
  })

  test('not when too many suspect it, or know another', () => {
    expect(stands(view('a', before), view('b', suspecting), view('c', suspecting))).toBe(false)
    expect(stands(view('a', before), view('b', after), view('c', after))).toBe(false)
  })
})
