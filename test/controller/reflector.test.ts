// A reflector against a scripted API server that fails in the ways in which real ones do.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { KubeConfigTarget, type ApiTarget } from '../../src/kube/api-target.js'
import { ManualTime } from '../../src/kube/time.testing.js'
import type { ObjectChange } from '../../src/kube/ports.js'
import { Reflector, type ReflectorOptions } from '../../src/kube/reflector.js'
import { createLog } from '../../src/log.js'
import { ScriptedKube, statusOf, thing, things, type Exchange } from '../support/kube-scripted.js'
import { Arrivals, within } from '../support/waiting.js'

const log = createLog({ level: 'silent', name: 'test' })

let kube: ScriptedKube
let time: ManualTime
let ending: AbortController
let running: Promise<unknown>[]
let listenerErrors: unknown[]
/** The delay of every back-off, recorded when it begins. The pause ends immediately. */
let pauses: Arrivals<number>

beforeEach(async () => {
  kube = await ScriptedKube.start()
  time = new ManualTime()
  ending = new AbortController()
  running = []
  listenerErrors = []
  pauses = new Arrivals('a back-off')
})

afterEach(async () => {
  ending.abort()
  await within('the reflector to end', Promise.all(running))
  await kube.stop()
})

function start(options: Partial<ReflectorOptions> = {}) {
  const changes = new Arrivals<ObjectChange>('a change')
  const reflector = new Reflector({
    transport: kube.transport({ pause: async () => {} }),
    kind: things,
    log,
    clock: time,
    after: time.after,
    pause: async (ms) => pauses.push(ms),
    random: () => 1,
    onListenerError: (error) => listenerErrors.push(error),
    ...options,
  })
  reflector.cache.onChange((change) => changes.push(change))
  running.push(reflector.run(ending.signal))
  return { reflector, cache: reflector.cache, changes }
}

const names = (changes: readonly ObjectChange[]) =>
  changes.map(
    ({ current, key, previous }) => `${previous ? (current ? 'changed' : 'deleted') : 'new'} ${key}`,
  )

/** The next watch, when the server has received it. */
const watch = (): Promise<Exchange> => kube.watches.next()

/** The next watch, when the reflector reads it and its silence timer runs. */
async function watchInProgress(): Promise<Exchange> {
  const open = await watch()
  await expect.poll(() => time.delaysMs, { timeout: 20_000 }).toEqual([150_000])
  return open
}

describe('P3: a list and a watch', () => {
  test('P3: all pages are read, and become visible together', async () => {
    kube.script(
      'list',
      (list) => list.list([thing('a')], { next: 'more' }),
      (list) => list.list([thing('b')], { resourceVersion: '77' }),
    )
    const { cache } = start()
    const { request } = await watch()
    expect(kube.requests.map(({ query }) => query.get('continue')).slice(0, 2)).toEqual([null, 'more'])
    expect(kube.requests[0]?.query.get('limit')).toBe('500')
    expect([...cache.list()].map(({ metadata }) => metadata.name)).toEqual(['a', 'b'])
    expect(request.query.get('resourceVersion')).toBe('77')
  })

  test('P3: the watch requests bookmarks, and the next one continues from the last bookmark', async () => {
    start()
    const first = await watch()
    expect(first.request.query.get('allowWatchBookmarks')).toBe('true')
    first.event('BOOKMARK', { kind: 'Thing', metadata: { resourceVersion: '4711' } }).end()
    expect((await watch()).request.query.get('resourceVersion')).toBe('4711')
    expect(kube.count('list')).toBe(1)
  })

  test('P3: the timeout of a watch is random, between five and ten minutes', async () => {
    let random = 0
    start({ random: () => random })
    const first = await watch()
    random = 0.999_999
    first.end()
    const second = await watch()
    expect([first, second].map(({ request }) => request.query.get('timeoutSeconds'))).toEqual(['300', '600'])
  })

  test('P3: a half-open watch is closed after two and a half minutes without a byte', async () => {
    start()
    const first = await watchInProgress()
    time.move(10_000)
    expect(time.delaysMs).toEqual([140_000])
    first.event('BOOKMARK', { metadata: { resourceVersion: '5' } })
    await expect.poll(() => time.delaysMs).toEqual([150_000])
    time.move(149_999)
    expect(kube.count('watch')).toBe(1)
    time.move(1)
    await within('the silent connection to be dropped', first.closed)
    const second = await watch()
    expect(second.request.query.get('resourceVersion')).toBe('5')
    expect(pauses.waiting, 'no back-off: the watch was healthy').toEqual([])
  })

  test('P3: the back-off grows while the server closes each watch immediately', async () => {
    kube.always('watch', (exchange) => exchange.stream().end())
    start({ random: () => 1 })
    expect(await pauses.take(8)).toEqual([800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000])
  })

  test('P3: the back-off is jittered down to half, and is reset only by a healthy watch', async () => {
    start({ random: () => 0 })
    for (const expected of [400, 800, 1_600]) {
      ;(await watch()).end()
      expect(await pauses.next()).toBe(expected)
    }
    const short = await watch()
    time.move(29_999)
    short.end()
    expect(await pauses.next()).toBe(3_200)
    const long = await watch()
    time.move(30_000)
    long.end()
    ;(await watch()).end()
    expect(await pauses.next(), 'no back-off after the healthy watch').toBe(400)
  })

  test('P3: there is no back-off while the server closes watches that have sent changes', async () => {
    const { changes } = start({ random: () => 1 })
    ;(await watch()).end()
    expect(await pauses.next()).toBe(800)
    for (let version = 1; version <= 5; version += 1) {
      const open = await watch()
      open.event('MODIFIED', thing('a', { resourceVersion: `v${version}` }, { spec: version })).end()
      await changes.next()
    }
    ;(await watch()).end()
    expect(await pauses.next(), 'the first back-off since then').toBe(800)
    expect(kube.count('list')).toBe(1)
  })

  test('P3: the reflector recovers from HTTP 500 on list and watch', async () => {
    kube.script(
      'list',
      ...Array.from({ length: 6 }, () => (list: Exchange) => list.status(500, 'InternalError')),
    )
    kube.script('watch', (exchange) => exchange.status(500, 'InternalError'))
    const { reflector } = start()
    await watch()
    await expect.poll(() => reflector.unavailableReason).toBeUndefined()
    expect(reflector.cache.synced).toBe(true)
  })
})

describe('P4: HTTP 410', () => {
  test('P4: as the status of a watch leads to a new list, with back-off', async () => {
    kube.always('watch', (exchange) => exchange.status(410, 'Expired'))
    start()
    expect(await pauses.take(4)).toEqual([800, 1_600, 3_200, 6_400])
    expect(kube.count('list')).toBeGreaterThanOrEqual(4)
    expect(kube.count('list') - kube.count('watch')).toBeLessThanOrEqual(1)
  })

  test('P4: inside the stream leads to a new list, without waiting for the server to close', async () => {
    const { changes } = start()
    const first = await watch()
    kube.script('list', (list) => list.list([thing('a')], { resourceVersion: '9' }))
    first.event('ERROR', statusOf(410, 'Expired'))
    expect((await watch()).request.query.get('resourceVersion')).toBe('9')
    expect(names(await changes.take(1))).toEqual(['new default/a'])
    await within('the old watch to be dropped', first.closed)
    expect(await pauses.next()).toBe(800)
  })

  test('P4: is recognised by its code when it has no reason', async () => {
    start()
    const first = await watch()
    first.event('ERROR', { kind: 'Status', code: 410, message: 'too old resource version' })
    await watch()
    expect(kube.count('list')).toBe(2)
  })
})

test('P5: any other error in the stream closes the watch, and the next one continues from its version', async () => {
  const { changes } = start()
  const first = await watch()
  first.event('ADDED', thing('a', { resourceVersion: '42' })).event('ERROR', statusOf(500, 'InternalError'))
  await changes.next()
  await within('the watch to be dropped', first.closed)
  expect((await watch()).request.query.get('resourceVersion')).toBe('42')
  expect(kube.count('list')).toBe(1)
})

test('P5: three failed watches in a row from one version lead to a new list', async () => {
  start()
  for (let count = 1; count <= 3; count += 1) (await watch()).event('ERROR', statusOf(500, 'InternalError'))
  await watch()
  expect(kube.count('list')).toBe(2)
})

test('P6: the error of a listener is counted, and other listeners and the watch continue', async () => {
  const { cache } = start()
  const keys = new Arrivals<string>('a change')
  cache.onChange(() => {
    throw new Error('a bug')
  })
  cache.onChange(({ key }) => keys.push(key))
  const open = await watch()
  open.event('ADDED', thing('a')).event('ADDED', thing('b'))
  expect(await keys.take(2)).toEqual(['default/a', 'default/b'])
  expect(listenerErrors).toHaveLength(2)
  expect(kube.count('watch')).toBe(1)
})

describe('P7: credentials that cannot be read', () => {
  test('P7: are read again until that works, also when reconnecting', async () => {
    let broken = false
    const real = new KubeConfigTarget(() => kube.kubeConfig())
    const target: ApiTarget = {
      url: real.url,
      access: () => (broken ? Promise.reject(new Error('ENOENT: no token file')) : real.access()),
      reloadCredentials: () => real.reloadCredentials(),
      close: () => real.close(),
    }
    const { reflector } = start({ transport: kube.transport({ target, pause: async () => {} }) })
    const first = await watch()
    broken = true
    first.cut()
    await pauses.take(4)
    expect(reflector.unavailableReason).toMatch(/Thing: credentials: ENOENT/)
    broken = false
    await watchInProgress()
    expect(reflector.unavailableReason).toBeUndefined()
  })

  test('P7: that hang fail the attempt after its deadline', async () => {
    const real = new KubeConfigTarget(() => kube.kubeConfig())
    let hangs = 2
    const target: ApiTarget = {
      url: real.url,
      access: () => ((hangs -= 1) >= 0 ? new Promise(() => {}) : real.access()),
      reloadCredentials: () => {},
      close: () => {},
    }
    const { cache } = start({ transport: kube.transport({ target, attemptMs: 50, pause: async () => {} }) })
    await watch()
    expect(cache.synced).toBe(true)
  })
})

describe('P8: an object with another uid is another object', () => {
  test('P8: after a gap, a recreated object is reported as a deletion and an addition', async () => {
    kube.script('list', (list) => list.list([thing('a', { uid: 'old' })]))
    const { changes, cache } = start()
    const first = await watch()
    kube.script('list', (list) => list.list([thing('a', { uid: 'new', resourceVersion: '2' })]))
    first.event('ERROR', statusOf(410, 'Expired'))
    const reported = await changes.take(3)
    expect(names(reported)).toEqual(['new default/a', 'deleted default/a', 'new default/a'])
    expect(reported[1]?.previous?.metadata.uid).toBe('old')
    expect(cache.get('default/a')?.metadata.uid).toBe('new')
  })

  test('P8: the same holds inside a watch, and the deletion has the last known state', async () => {
    kube.script('list', (list) => list.list([thing('a', { uid: 'old' }, { spec: 1 })]))
    const { changes } = start()
    const open = await watch()
    open.event('MODIFIED', thing('a', { uid: 'new', resourceVersion: '2' }))
    open.event('DELETED', thing('a', { uid: 'new', resourceVersion: '3' }, { spec: 2 }))
    const reported = await changes.take(4)
    expect(names(reported.slice(1))).toEqual(['deleted default/a', 'new default/a', 'deleted default/a'])
    expect([reported[1]?.previous?.['spec'], reported[3]?.previous?.['spec']]).toEqual([1, 2])
  })

  test('P8: the deletion of a replaced object does not delete its successor', async () => {
    kube.always('list', (list) => list.list([thing('a', { uid: 'new' })]))
    const { cache } = start()
    const first = await watch()
    first.event('DELETED', thing('a', { uid: 'old', resourceVersion: '2' }))
    await watch()
    expect(kube.count('list')).toBe(2)
    expect(cache.get('default/a')?.metadata.uid).toBe('new')
  })
})

describe('P9: the reflector is stopped', () => {
  test('P9: during a list: the list is dropped and no watch is opened', async () => {
    const listed = new Arrivals<Exchange>('a list')
    kube.script('list', (list) => listed.push(list))
    const { cache, changes } = start()
    const list = await listed.next()
    ending.abort()
    await within('run() to end', Promise.all(running))
    list.list([thing('a')])
    expect(cache.synced).toBe(false)
    expect(changes.waiting).toEqual([])
    expect(kube.count('watch')).toBe(0)
  })

  test('P9: during a back-off or while a watch opens: it ends immediately', async () => {
    kube.always('list', (list) => list.status(403, 'Forbidden'))
    const paused = new Arrivals<AbortSignal>('a back-off')
    start({ pause: (_ms, signal) => hold(paused, signal) })
    await paused.next()
    ending.abort()
    await within('run() to end', Promise.all(running))

    ending = new AbortController()
    kube.always('list', (list) => list.list([]))
    const opened = new Arrivals<Exchange>('a watch')
    kube.script('watch', (exchange) => opened.push(exchange))
    start()
    const connecting = await opened.next()
    ending.abort()
    await within('run() to end', Promise.all(running))
    await within('the connection to be dropped', connecting.closed)
    expect(kube.count('watch')).toBe(1)
  })

  test('P9: during a watch: it reports no failure, and the cache does not change any more', async () => {
    const { cache, changes, reflector } = start()
    const open = await watch()
    open.event('ADDED', thing('a'))
    await changes.next()
    ending.abort()
    open.event('DELETED', thing('a'))
    await within('run() to end', Promise.all(running))
    expect(reflector.unavailableReason).toBeUndefined()
    expect(cache.size).toBe(1)
    expect(pauses.waiting).toEqual([])
  })

  test('P9: and cannot be started again', async () => {
    const { reflector } = start()
    await expect(reflector.run(ending.signal)).rejects.toThrow('started before')
  })
})

test('P10: versions are compared for equality only', async () => {
  kube.script('list', (list) => list.list([thing('a', { resourceVersion: '9' })], { resourceVersion: 'zz' }))
  const { changes, cache } = start()
  const open = await watch()
  open.event('MODIFIED', thing('a', { resourceVersion: '1' }, { spec: 'newer' }))
  open.event('MODIFIED', thing('a', { resourceVersion: 'x-y' }, { spec: 'newest' }))
  await changes.take(3)
  expect(cache.get('default/a')?.['spec']).toBe('newest')
  open.event('MODIFIED', thing('a', { resourceVersion: 'x-y' })).event('ADDED', thing('b'))
  expect(names(await changes.take(1)), 'an equal version is not a change').toEqual(['new default/b'])
})

test('P11: lists and watches give equal objects, with kind, apiVersion, times as text, and labels', async () => {
  const bare = thing(
    'a',
    { creationTimestamp: '2026-01-01T00:00:00Z' },
    { spec: { at: '2026-01-01T00:00:00.123456Z' } },
  )
  kube.script('list', (list) => list.list([bare]))
  const { cache } = start()
  const open = await watch()
  const listed = cache.get('default/a')
  open
    .event('MODIFIED', { apiVersion: 'parley.chat/v1alpha1', kind: 'Thing', ...bare })
    .event('ADDED', thing('b'))
  await expect.poll(() => cache.size).toBe(2)
  expect(cache.get('default/a')).toEqual(listed)
  expect(listed).toMatchObject({
    apiVersion: 'parley.chat/v1alpha1',
    kind: 'Thing',
    metadata: { creationTimestamp: '2026-01-01T00:00:00Z', labels: {}, annotations: {}, ownerReferences: [] },
    spec: { at: '2026-01-01T00:00:00.123456Z' },
  })
})

test('P17: stuckMs grows while nothing happens, and not while the server is unreachable', async () => {
  const { reflector } = start()
  const open = await watchInProgress()
  time.stall(140_000)
  expect(reflector.stuckMs).toBe(140_000)
  open.event('BOOKMARK', { metadata: { resourceVersion: '5' } })
  await expect.poll(() => reflector.stuckMs).toBe(0)
  expect(reflector.silentMs).toBe(0)
  time.stall(10_000)
  kube.always('watch', (exchange) => exchange.status(503, 'ServiceUnavailable'))
  kube.always('list', (exchange) => exchange.status(503, 'ServiceUnavailable'))
  open.cut()
  await pauses.take(3)
  expect(reflector.stuckMs).toBe(0)
  expect(reflector.silentMs).toBe(10_000)
})

test('P18: the list and the watch have the selectors and the namespace', async () => {
  start({ namespace: 'team-a', labelSelector: 'parley.chat/key=yes', fieldSelector: 'metadata.name=x' })
  await watch()
  for (const { path, query } of kube.requests) {
    expect(path).toBe('/apis/parley.chat/v1alpha1/namespaces/team-a/things')
    expect(query.get('labelSelector')).toBe('parley.chat/key=yes')
    expect(query.get('fieldSelector')).toBe('metadata.name=x')
  }
})

test('P18: the list and the watch request whole objects as JSON', async () => {
  start()
  await watch()
  expect(kube.requests.map(({ headers }) => headers.accept)).toEqual(['application/json', 'application/json'])
})

describe('P22: malformed input is not skipped', () => {
  const resyncs = async (send: (open: Exchange) => void) => {
    const { changes } = start()
    const open = await watch()
    kube.script('list', (list) => list.list([thing('missed')]))
    send(open)
    expect(names(await changes.take(1))).toEqual(['new default/missed'])
    await within('the watch to be dropped', open.closed)
  }

  test('P22: a malformed line leads to a new list', async () => {
    await expect(resyncs((open) => open.raw('{"type":"ADDED","obj\n'))).resolves.toBeUndefined()
  })

  test('P22: an event of an unknown type leads to a new list', async () => {
    await expect(resyncs((open) => open.event('UPSERTED', thing('a')))).resolves.toBeUndefined()
  })

  test('P22: an object without a uid leads to a new list', async () => {
    await expect(resyncs((open) => open.event('ADDED', thing('a', { uid: '' })))).resolves.toBeUndefined()
  })

  test('P22: a line that is too long leads to a new list', async () => {
    const send = (open: Exchange) => open.raw(`{"type":"ADDED","object":"${'x'.repeat(9 * 1_048_576)}`)
    await expect(resyncs(send)).resolves.toBeUndefined()
  })

  test('P22: lines may be split into any chunks', async () => {
    const { changes } = start()
    const open = await watch()
    const line = Buffer.from(
      `${JSON.stringify({ type: 'ADDED', object: thing('a', {}, { spec: 'grün 🌱' }) })}\n`,
    )
    const socket = open.response
    for (let at = 0; at < line.length; at += 7) {
      socket.write(line.subarray(at, at + 7))
      await new Promise((resolve) => setImmediate(resolve))
    }
    socket.write(Buffer.concat([line, line.subarray(0, 3)]))
    expect((await changes.next()).current?.['spec']).toBe('grün 🌱')
    expect(kube.count('list')).toBe(1)
  })
})

test('P24: a pending watch keeps the process alive, and leaves no timer after the end', async () => {
  const set = vi.spyOn(globalThis, 'setTimeout')
  const cleared = vi.spyOn(globalThis, 'clearTimeout')
  const reflector = new Reflector({ transport: kube.transport(), kind: things, log })
  running.push(reflector.run(ending.signal))
  await watch()
  await expect.poll(() => reflector.unavailableReason, { timeout: 20_000 }).toBeUndefined()
  /** The timers of the watch, of each attempt and of each call, recognised by their delays. */
  const clientTimers = () =>
    set.mock.calls.flatMap(([, ms], index) =>
      [150_000, 15_000, 30_000].includes(ms ?? 0) ? [set.mock.results[index]?.value as NodeJS.Timeout] : [],
    )
  expect(clientTimers().length).toBeGreaterThanOrEqual(4)
  expect(clientTimers().every((timer) => timer.hasRef())).toBe(true)
  ending.abort()
  await within('run() to end', Promise.all(running))
  await expect.poll(() => kube.openConnections).toBeLessThanOrEqual(1)
  const ended = new Set(cleared.mock.calls.map(([timer]) => timer))
  expect(clientTimers().filter((timer) => !ended.has(timer))).toEqual([])
})

describe('P25: only a complete list deletes objects', () => {
  const lists: Record<string, ((list: Exchange) => void)[]> = {
    'a second page that fails': [
      (list) => list.list([], { next: 'more' }),
      ...Array.from({ length: 5 }, () => (list: Exchange) => list.status(500, 'InternalError')),
    ],
    'a truncated page': Array.from({ length: 5 }, () => (list: Exchange) => {
      list.response.writeHead(200, { 'content-length': '1000' })
      list.response.write('{"metadata":{"resourceVersion":"5"},"items":[', () => list.cut())
    }),
    'an item that is not an object': [(list) => list.list([{ metadata: { name: 'a' } }])],
    'a list without a version': [(list) => list.json(200, { metadata: {}, items: [] })],
    'pages that repeat their continue token': Array.from(
      { length: 2 },
      () => (list: Exchange) => list.list([], { next: 'round' }),
    ),
    'a sudden Forbidden': [(list) => list.status(403, 'Forbidden')],
  }
  test.each(Object.entries(lists))('P25: %s deletes nothing', async (_what, answers) => {
    kube.script('list', (list) => list.list([thing('a'), thing('b')]))
    const { cache, changes } = start()
    const first = await watch()
    await changes.take(2)
    kube.script('list', ...answers)
    let changesBefore: ObjectChange[] | undefined
    let continued: string | null = ''
    kube.script('list', (list) => {
      changesBefore = [...changes.waiting]
      continued = list.request.query.get('continue')
      list.list([thing('a')])
    })
    first.event('ERROR', statusOf(410, 'Expired'))
    expect(names(await changes.take(1)), 'the complete list does').toEqual(['deleted default/b'])
    expect(changesBefore, 'no change before the complete list').toEqual([])
    expect(continued, 'the next attempt starts at the first page').toBeNull()
    expect(cache.synced).toBe(true)
    expect(cache.size).toBe(1)
  })

  test('P25: a list whose snapshot expires between pages starts again', async () => {
    kube.script('list', (list) => list.list([thing('a'), thing('b')]))
    const { cache, changes } = start()
    const first = await watch()
    await changes.take(2)
    kube.script(
      'list',
      (list) => list.list([thing('a')], { next: 'more' }),
      (list) => list.status(410, 'Expired'),
      (list) => list.list([thing('a')], { next: 'again' }),
      (list) => list.list([thing('b')]),
    )
    first.event('ERROR', statusOf(410, 'Expired'))
    await watch()
    expect(cache.size).toBe(2)
    expect(changes.waiting).toEqual([])
    expect(pauses.waiting, 'the back-off of the watch alone').toEqual([800])
  })
})

/** A pause that lasts until its signal aborts. */
function hold(paused: Arrivals<AbortSignal>, signal: AbortSignal): Promise<void> {
  paused.push(signal)
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
