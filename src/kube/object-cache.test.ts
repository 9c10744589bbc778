import { beforeEach, describe, expect, test } from 'vitest'
import { ApiObject } from './object.js'
import { CachedObjects } from './object-cache.js'
import { ManualTime } from './time.testing.js'

let time: ManualTime
let cache: CachedObjects

beforeEach(() => {
  time = new ManualTime()
  cache = new CachedObjects({ clock: time, onBug: () => {} })
})

const object = (resourceVersion: string, uid = 'uid') =>
  ApiObject.parse({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'a', uid, resourceVersion } })

describe('P15: read your writes', () => {
  test('P15: what was written is what is read, until the watch has caught up', () => {
    cache.replace([object('1')])
    cache.wrote(object('3'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('3')
    cache.put(object('2'))
    expect(cache.get('a')?.metadata.resourceVersion, 'a change before ours').toBe('3')
    cache.put(object('3'))
    cache.put(object('4'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('4')
  })

  test('P15: a watch that was faster than the answer is not undone', () => {
    cache.replace([object('1')])
    cache.put(object('2'))
    cache.put(object('3'))
    cache.wrote(object('2'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('3')
  })

  test('P15: a write that the watch never tells of is believed for ten seconds', () => {
    cache.replace([object('1')])
    cache.wrote(object('2'))
    time.move(9_999)
    expect(cache.get('a')?.metadata.resourceVersion).toBe('2')
    time.move(1)
    expect(cache.get('a')?.metadata.resourceVersion).toBe('1')
  })

  test('P15: a deletion ends it, and so does a new list', () => {
    cache.replace([object('1')])
    cache.wrote(object('2'))
    cache.remove(object('3'))
    expect(cache.get('a')).toBeUndefined()
    cache.wrote(object('4', 'another'))
    cache.replace([])
    expect(cache.get('a')).toBeUndefined()
  })
})

test('whoever waits for the first list hears of it, or of the end', async () => {
  const ending = new AbortController()
  const first = cache.whenSynced(ending.signal)
  const second = cache.whenSynced(AbortSignal.timeout(60_000))
  ending.abort(new Error('the end'))
  await expect(first).rejects.toThrow('the end')
  cache.replace([])
  await expect(second).resolves.toBeUndefined()
  await expect(cache.whenSynced(ending.signal)).resolves.toBeUndefined()
})
