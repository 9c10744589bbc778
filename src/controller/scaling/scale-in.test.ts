import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLog } from '../../log.js'
import { systemClock } from '../../time.js'
import { ApiError, ApiUnreachableError, NotLeadingError } from '../../kube/api-error.js'
import type { GatewayLoad } from './deletion-costs.js'
import type { Desired } from '../../kube/ports.js'
import { KubeObjectCache } from '../../kube/object-cache.js'
import { ApiObject } from '../../kube/object.js'
import { costAnnotation, isAboutToScaleIn, ScaleIn } from './scale-in.js'

const fleet = { namespace: 'chat', autoscaler: 'gateway', selector: 'app=gateway' }
const log = createLog({ level: 'silent', name: 'test' })

/** The autoscaler with this reason in its condition AbleToScale. */
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

function pod(name: string, { cost = '', isTerminating = false } = {}): ApiObject {
  return ApiObject.parse({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'chat',
      uid: `uid-${name}`,
      resourceVersion: '1',
      ...(cost !== '' && { annotations: { [costAnnotation]: cost } }),
      ...(isTerminating && { deletionTimestamp: '2026-11-22T10:00:00Z' }),
    },
  })
}

function gateway(host: string, connections: number): GatewayLoad {
  return { id: `${host}-0f3a`, connections, startedAtMs: 1 }
}

let versions = 0
let cache: KubeObjectCache
let pods: ApiObject[]
let gateways: GatewayLoad[]
/** The written costs as `<pod> <cost>`, in the order of the writes. */
let written: string[]
let listed: number
let failFor: ((name: string) => Error | undefined) | undefined
let ending: AbortController
let running: Promise<void>

beforeEach(() => {
  cache = new KubeObjectCache({ clock: systemClock, onListenerError: () => {} })
  pods = [pod('a'), pod('b'), pod('c')]
  gateways = [gateway('a', 300), gateway('b', 20), gateway('c', 100)]
  written = []
  listed = 0
  running = Promise.resolve()
  failFor = undefined
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
        listed += 1
        return pods
      },
      apply: async (_kind, { metadata }: Desired) => {
        const error = failFor?.(metadata.name)
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

const untilListed = (times: number) => vi.waitFor(() => expect(listed).toBe(times), { timeout: 20_000 })
/** Waits for at least `count` writes and returns all of them. */
async function writes(count: number): Promise<string[]> {
  await vi.waitFor(() => expect(written.length).toBeGreaterThanOrEqual(count), { timeout: 20_000 })
  return written
}
/** Resolves after pending callbacks have run, in which pods would have been listed. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('an autoscaler', () => {
  test('that waits for its stabilization window is about to scale in', () => {
    expect(isAboutToScaleIn(autoscaler('ScaleDownStabilized'))).toBe(true)
  })

  test.each(['ReadyForNewScale', 'SucceededRescale', 'ScaleUpStabilized'])(
    'with the reason %s is not',
    (reason) => {
      expect(isAboutToScaleIn(autoscaler(reason))).toBe(false)
    },
  )

  test('that does not exist or has no status yet is not', () => {
    expect(isAboutToScaleIn(undefined)).toBe(false)
    expect(isAboutToScaleIn(pod('a'))).toBe(false)
  })
})

test('each pod gets its rank when the autoscaler is about to scale in, and not before', async () => {
  cache.put(autoscaler('ReadyForNewScale'))
  start()
  await settled()
  expect(listed).toBe(0)
  cache.put(autoscaler('ScaleDownStabilized'))
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
})

test('costs are written once per scale-in, even when connections change during it', async () => {
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
  gateways = [gateway('a', 1), gateway('b', 2), gateway('c', 3)]
  for (let count = 0; count < 3; count += 1) {
    cache.put(autoscaler('ScaleDownStabilized'))
    await settled()
  }
  expect(listed).toBe(1)
  expect(written).toHaveLength(3)
})

test('the next scale-in writes new costs, only for pods whose rank has changed', async () => {
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
  cache.put(autoscaler('SucceededRescale'))
  await settled()
  gateways = [gateway('a', 50), gateway('b', 20), gateway('c', 100)]
  cache.put(autoscaler('ScaleDownStabilized'))
  expect(await writes(5)).toEqual(['a 3', 'b 1', 'c 2', 'a 2', 'c 3'])
})

test('another autoscaler is ignored', async () => {
  cache.put(autoscaler('ScaleDownStabilized', 'another'))
  start()
  await settled()
  expect(listed).toBe(0)
})

test('terminating pods are not changed, and a pod without a heartbeat loses its rank', async () => {
  pods = [pod('a', { isTerminating: true }), pod('b', { cost: '7' }), pod('c', { cost: '1' }), pod('d')]
  gateways = [gateway('a', 300), gateway('c', 100)]
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(1)).toEqual(['b 0'])
})

test('the deletion of a pod does not prevent the costs of the others', async () => {
  failFor = (name) => (name === 'a' ? new ApiError('gone', { code: 404, reason: 'NotFound' }) : undefined)
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(2)).toEqual(['b 1', 'c 2'])
  await settled()
  expect(listed).toBe(1)
})

test('a failed write is retried while the scale-in is pending', async () => {
  failFor = (name) => (name === 'b' ? new ApiUnreachableError('away') : undefined)
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  expect(await writes(1)).toEqual(['a 3'])
  failFor = undefined
  expect(await writes(3)).toEqual(['a 3', 'b 1', 'c 2'])
})

test('a failed write is not retried after the scale-in was cancelled', async () => {
  failFor = () => new ApiUnreachableError('away')
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  await untilListed(1)
  cache.put(autoscaler('ReadyForNewScale'))
  await settled()
  failFor = undefined
  cache.put(autoscaler('ReadyForNewScale'))
  await settled()
  expect(written).toEqual([])
})

test('the loss of leadership ends the run, and nothing is written', async () => {
  failFor = () => new NotLeadingError('another process holds the lease')
  cache.put(autoscaler('ScaleDownStabilized'))
  start()
  await expect(running).rejects.toThrow(NotLeadingError)
  expect(written).toEqual([])
})
