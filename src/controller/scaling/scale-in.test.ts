import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLog } from '../../log.js'
import { systemClock } from '../../time.js'
import { ApiError, ApiUnreachableError, NotLeadingError } from '../../kube/api-error.js'
import type { GatewayLoad } from './deletion-costs.js'
import type { Desired } from '../../kube/ports.js'
import { CachedObjects } from '../../kube/object-cache.js'
import { ApiObject } from '../../kube/object.js'
import { costAnnotation, isAboutToScaleIn, ScaleIn } from './scale-in.js'

const fleet = { namespace: 'chat', autoscaler: 'gateway', selector: 'app=gateway' }
const log = createLog({ level: 'silent', name: 'test' })

/** As the autoscaler says it. */
function autoscaler(reason: string, name = 'gateway'): ApiObject {
  versions += 1
  return ApiObject.parse({
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name, namespace: 'chat', uid: `uid-${name}`, resourceVersion: String(versions) },
    status: {
      conditions: [
        { type: 'ScalingLimited', status: 'False', reason: 'ScaleDownStabilized' },
        { type: 'AbleToScale', status: 'True', reason },
      ],
    },
  })
}

function pod(name: string, { cost = '', isGoing = false } = {}): ApiObject {
  return ApiObject.parse({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'chat',
      uid: `uid-${name}`,
      resourceVersion: '1',
      ...(cost !== '' && { annotations: { [costAnnotation]: cost } }),
      ...(isGoing && { deletionTimestamp: '2026-11-22T10:00:00Z' }),
    },
  })
}

function gateway(host: string, connections: number): GatewayLoad {
  return { id: `${host}-0f3a`, connections, startedAtMs: 1 }
}

let versions = 0
let cache: CachedObjects
let pods: ApiObject[]
let gateways: GatewayLoad[]
/** `<pod> <cost>`, in order. */
let written: string[]
let looked: number
let refuse: ((name: string) => Error | undefined) | undefined
let ending: AbortController
let running: Promise<void>

beforeEach(() => {
  cache = new CachedObjects({ clock: systemClock, onBug: () => {} })
  pods = [pod('a'), pod('b'), pod('c')]
  gateways = [gateway('a', 300), gateway('b', 20), gateway('c', 100)]
  written = []
  looked = 0
  running = Promise.resolve()
  refuse = undefined
  ending = new AbortController()
})
afterEach(async () => {
  ending.abort()
  await running.catch(() => {})
})

function start(): void {
  const scaleIn = new ScaleIn({
    fleet,
    autoscalers: cache,
    api: {
      list: async (_kind, selection) => {
        expect(selection).toEqual({ namespace: 'chat', labelSelector: 'app=gateway' })
        looked += 1
        return pods
      },
      apply: async (_kind, { metadata }: Desired) => {
        const error = refuse?.(metadata.name)
        if (error) throw error
        expect(metadata.uid).toBe(`uid-${metadata.name}`)
        const cost = metadata.annotations?.[costAnnotation] ?? ''
        written.push(`${metadata.name} ${cost}`)
        pods = pods.map((old) => (old.metadata.name === metadata.name ? pod(metadata.name, { cost }) : old))
        return pod(metadata.name)
      },
    },
    readGateways: async () => gateways,
    log,
    retryMs: 10,
  })
  running = scaleIn.run(ending.signal)
}

const hasLooked = (times: number) => vi.waitFor(() => expect(looked).toBe(times), { timeout: 20_000 })
/** When so many were. */
async function writes(count: number): Promise<string[]> {
  await vi.waitFor(() => expect(written.length).toBeGreaterThanOrEqual(count), { timeout: 20_000 })
  return written
}
/** All that is under way by now has happened: pods would have been listed by then. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('an autoscaler', () => {
  test('that waits out its window is about to shrink', () => {
    expect(isAboutToScaleIn(autoscaler('ScaleDownStabilized'))).toBe(true)
  })

  test.each(['ReadyForNewScale', 'SucceededRescale', 'ScaleUpStabilized'])(
    'that says %s is not',
    (reason) => {
      expect(isAboutToScaleIn(autoscaler(reason))).toBe(false)
    },
  )

  test('that is not there, or has not said anything yet, is not', () => {
    expect(isAboutToScaleIn(undefined)).toBe(false)
    expect(isAboutToScaleIn(pod('a'))).toBe(false)
  })
})

test('each pod is told its rank when fewer are wanted, and not before', async () => {
  cache.put(autoscaler('ReadyForNewScale'))
  start()
  await settled()
  expect(looked).toBe(0)
  cache.put(autoscaler('ScaleDownStabilized'))
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
})

test('it is told once, however long it takes and whatever connections do meanwhile', async () => {
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
  gateways = [gateway('a', 1), gateway('b', 2), gateway('c', 3)]
  for (let count = 0; count < 3; count += 1) {
    cache.put(autoscaler('ScaleDownStabilized'))
    await settled()
  }
  expect(looked).toBe(1)
  expect(written).toHaveLength(3)
})

test('the next time it is told anew, and only those whose rank is another', async () => {
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
  cache.put(autoscaler('SucceededRescale'))
  await settled()
  gateways = [gateway('a', 50), gateway('b', 20), gateway('c', 100)]
  cache.put(autoscaler('ScaleDownStabilized'))
  expect(await writes(5)).toEqual(['a 3', 'b 1', 'c 2', 'a 2', 'c 3'])
})

test('another’s autoscaler is no news', async () => {
  cache.put(autoscaler('ScaleDownStabilized', 'theirs'))
  start()
  await settled()
  expect(looked).toBe(0)
})

test('pods that are going are let alone, and one that nobody tells of loses its rank', async () => {
  pods = [pod('a', { isGoing: true }), pod('b', { cost: '7' }), pod('c', { cost: '1' }), pod('d')]
  gateways = [gateway('a', 300), gateway('c', 100)]
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(1)).toEqual(['b 0'])
})

test('a pod that goes meanwhile stops nobody', async () => {
  refuse = (name) => (name === 'a' ? new ApiError('gone', { code: 404, reason: 'NotFound' }) : undefined)
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(2)).toEqual(['b 1', 'c 2'])
  await settled()
  expect(looked).toBe(1)
})

test('what could not be written is tried again, as long as it is of use', async () => {
  refuse = (name) => (name === 'b' ? new ApiUnreachableError('away') : undefined)
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(1)).toEqual(['a 3'])
  refuse = undefined
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
})

test('it is not tried again when fewer are not wanted any more', async () => {
  refuse = () => new ApiUnreachableError('away')
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  await hasLooked(1)
  cache.put(autoscaler('ReadyForNewScale'))
  await settled()
  refuse = undefined
  cache.put(autoscaler('ReadyForNewScale'))
  await settled()
  expect(written).toEqual([])
})

test('whoever does not lead any more ends, and writes nothing', async () => {
  refuse = () => new NotLeadingError('the lease is another’s')
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  await expect(running).rejects.toThrow(NotLeadingError)
  expect(written).toEqual([])
})
