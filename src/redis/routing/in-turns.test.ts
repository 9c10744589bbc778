import fc from 'fast-check'
import { expect, test } from 'vitest'
import { channelTopic } from '../keys.js'
import { inTurns } from './in-turns.js'

interface Item {
  readonly tenantId: string
  readonly channel: string
  readonly n: number
}

const keyOf = ({ channel, tenantId }: Item): string => channelTopic({ tenantId, channel })

test('a tenant with few items comes among the first, whatever others have waiting', () => {
  const backlog = Array.from({ length: 10_000 }, (_, n) => ({ tenantId: 'a', channel: `room:${n % 50}`, n }))
  const items = [
    ...backlog,
    { tenantId: 'b', channel: 'x', n: 0 },
    { tenantId: 'c', channel: 'room:1', n: 0 },
  ]
  const ordered = inTurns(items, keyOf)
  expect(ordered.slice(0, 3).map(({ tenantId }) => tenantId)).toEqual(['a', 'b', 'c'])
  expect(ordered.slice(3)).toEqual(backlog.slice(1))
})

test('all items are kept, and those of a tenant stay in their order', () => {
  const item = fc.record({ tenantId: fc.constantFrom('a', 'b', 'c'), channel: fc.constantFrom('x', 'a:b') })
  fc.assert(
    fc.property(fc.array(item, { maxLength: 200 }), (drawn) => {
      const items = drawn.map((one, n) => ({ ...one, n }))
      const ordered = inTurns(items, keyOf)
      for (const tenant of ['a', 'b', 'c']) {
        const ofTenant = (all: readonly Item[]) => all.filter(({ tenantId }) => tenantId === tenant)
        expect(ofTenant(ordered)).toEqual(ofTenant(items))
      }
      expect(ordered).toHaveLength(items.length)
    }),
  )
})
