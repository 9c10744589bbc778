// Fenced reads, with a connection that does as it is told.
import type { ChainableCommander, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import type { Position } from '../../src/broker/broker.js'
import { StreamReads } from '../../src/broker/redis/stream-reader.js'
import { ElsewhereError } from '../../src/redis/routing/redirects.js'
import { epochKey, fenceKey, streamKey } from '../../src/redis/keys.js'
import type { LiveRedis, RedisLink } from '../../src/redis/link.js'

const ref = { tenantId: 't1', channel: 'room:1' }
const page = [Buffer.from('epoch'), Buffer.from('0-3'), 0, []]

function rig(replies: (fence: string) => unknown[]) {
  const fences: string[] = []
  let scripts = 0
  const live: LiveRedis = {
    client: {
      pipeline() {
        const fake = {
          fence: '',
          callBuffer: () => ((scripts += 1), fake),
          call: () => fake,
          set: (key: string) => ((fake.fence = key), fake),
        }
        return fake
      },
    } as unknown as Redis,
    lost: new AbortController().signal,
    async run(pipeline: ChainableCommander) {
      const { fence } = pipeline as unknown as { fence: string }
      fences.push(fence)
      return replies(fence)
    },
    stands: async () => true,
    discard: () => {},
  }
  const link: RedisLink = { current: live, trouble: undefined, ready: async () => live, onOpen: () => {} }
  const reads = new StreamReads(
    {
      link,
      retired: new AbortController().signal,
      gatewayId: 'g1',
      partitions: () => [5, 6],
      waitReplicas: () => 1,
      waitMs: 1_000,
      epochMs: () => 0,
      patienceMs: 1_000,
    },
    { fence: true },
  )
  const read = (query: { limit: number; since?: Position } = { limit: 1 }) =>
    reads.read({ partition: 7, streamKey: streamKey(ref), epochKey: epochKey(ref), ...query })
  return { read, fences, scripts: () => scripts }
}

test('a fence stands in a partition of the shard, and covers what is read in others', async () => {
  const { fences, read } = rig(() => [page, 'OK', 1])
  expect(await read()).toMatchObject({ fenced: true, top: { epoch: 'epoch', offset: 3 } })
  expect(fences).toEqual([fenceKey(5, 'g1')])
})

test('where a fence is refused because its partition moves, the next stands in another', async () => {
  const { fences, read } = rig((fence) => [
    page,
    fence === fenceKey(5, 'g1') ? new Error('ASK 1 127.0.0.1:7000') : 'OK',
    1,
  ])
  await expect(read()).rejects.toThrow(ElsewhereError)
  expect(await read()).toMatchObject({ fenced: true })
  expect(fences).toEqual([fenceKey(5, 'g1'), fenceKey(6, 'g1')])
})

test('what lies elsewhere is said to', async () => {
  const { read } = rig(() => [new Error('MOVED 1 127.0.0.1:7000'), 'OK', 1])
  await expect(read()).rejects.toThrow(ElsewhereError)
})

test('a page that too few replicas confirm is not fenced', async () => {
  const { read } = rig(() => [page, 'OK', 0])
  expect(await read()).toMatchObject({ fenced: false })
})

test('who asks the same of a channel before it is sent gets the same answer, and who asks later another', async () => {
  const { fences, read, scripts } = rig(() => [page, 'OK', 1])
  const [one, other] = await Promise.all([read(), read()])
  expect(one).toBe(other)
  expect(scripts()).toBe(1)
  expect(await read()).not.toBe(one)
  expect(fences).toHaveLength(2)
})

test('who asks for more, or from elsewhere, is read for', async () => {
  const { read, scripts } = rig(() => [page, page, page, page, 'OK', 1])
  const since = (epoch: string, offset: number) => ({ limit: 1, since: { epoch, offset } })
  await Promise.all([read(), read({ limit: 2 }), read(since('epoch', 1)), read(since('other', 1))])
  expect(scripts()).toBe(4)
})

test('one refusal is for all who asked the same', async () => {
  const { read } = rig(() => [new Error('MOVED 1 127.0.0.1:7000'), 'OK', 1])
  const refused = await Promise.allSettled([read(), read()])
  expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})
