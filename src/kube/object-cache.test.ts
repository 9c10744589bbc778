import { beforeEach, describe, expect, test } from 'vitest'
import { ApiObject } from './object.js'
import { KubeObjectCache } from './object-cache.js'
import { ManualTime } from './time.testing.js'

let time: ManualTime
let cache: KubeObjectCache

beforeEach(() => {
  time = new ManualTime()
  cache = new KubeObjectCache({ clock: time, onListenerError: () => {} })
})

const object = (resourceVersion: string, uid = 'uid') =>
  ApiObject.parse({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'a', uid, resourceVersion } })

describe('P15: read your writes', () => {
  test('P15: reads return the written object until the watch has caught up', () => {
    cache.replace([object('1')])
    cache.recordWrite(object('3'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('3')
    cache.put(object('2'))
    expect(cache.get('a')?.metadata.resourceVersion, 'a change before the write').toBe('3')
    cache.put(object('3'))
    cache.put(object('4'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('4')
  })

  test('P15: a write whose response came after the watch is ignored', () => {
    cache.replace([object('1')])
    cache.put(object('2'))
    cache.put(object('3'))
    cache.recordWrite(object('2'))
    expect(cache.get('a')?.metadata.resourceVersion).toBe('3')
  })

  test('P15: a write that the watch never reports is returned for ten seconds', () => {
    cache.replace([object('1')])
    cache.recordWrite(object('2'))
    time.move(9_999)
    expect(cache.get('a')?.metadata.resourceVersion).toBe('2')
    time.move(1)
    expect(cache.get('a')?.metadata.resourceVersion).toBe('1')
  })

  test('P15: a deletion removes the written object, and so does a new list', () => {
    cache.replace([object('1')])
    cache.recordWrite(object('2'))
    cache.remove(object('3'))
    expect(cache.get('a')).toBeUndefined()
    cache.recordWrite(object('4', 'another'))
    cache.replace([])
    expect(cache.get('a')).toBeUndefined()
  })
})

test('whenSynced() resolves with the first list and rejects when its signal aborts', async () => {
  const ending = new AbortController()
  const first = cache.whenSynced(ending.signal)
  const second = cache.whenSynced(AbortSignal.timeout(60_000))
  ending.abort(new Error('the end'))
  await expect(first).rejects.toThrow('the end')
  cache.replace([])
  await expect(second).resolves.toBeUndefined()
  await expect(cache.whenSynced(ending.signal)).resolves.toBeUndefined()
})
