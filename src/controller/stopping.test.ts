// After its signal has aborted, no part starts a write, because another process may lead already.
import { beforeEach, expect, test } from 'vitest'
import { ApiError } from '../kube/api-error.js'
import { chatPlans } from './kinds.js'
import type { Desired, ObjectApi } from '../kube/ports.js'
import { KubeObjectCache } from '../kube/object-cache.js'
import { ApiObject } from '../kube/object.js'
import { ReadyReport } from './ready-report.js'
import { ManagedSecrets } from './credentials/managed-secret.js'
import { ManualTime } from '../kube/time.testing.js'

const time = new ManualTime()
const events = { event: () => {} }
const cache = new KubeObjectCache({ clock: time, onListenerError: () => {} })
const owner = ApiObject.parse({
  apiVersion: 'parley.chat/v1alpha1',
  kind: 'ChatTenant',
  metadata: { name: 'acme', namespace: 'demo', uid: 'u', resourceVersion: '1' },
})

let written: string[]
let stop: AbortController
let reading: () => void

const stored = (what: string, { metadata }: Desired) => {
  written.push(what)
  return ApiObject.parse({ ...owner, metadata: { ...metadata, uid: 'new', resourceVersion: '2' } })
}
const unused = async () => expect.fail('this call is not expected')
/** An API server without objects. */
const api: ObjectApi = {
  get: async () => {
    reading()
    throw new ApiError('not found', { code: 404, reason: 'NotFound' })
  },
  apply: async (_, desired) => stored('object', desired),
  applyStatus: async (_, desired) => stored('status', desired),
  list: unused,
  create: unused,
  update: unused,
  delete: unused,
}

beforeEach(() => {
  written = []
  stop = new AbortController()
  reading = () => {}
})

const report = () =>
  new ReadyReport({ api, cache, clock: time, events, kind: chatPlans }).write(
    owner,
    { verdict: { ok: true, reason: 'Accepted', message: '' }, previous: [], facts: {} },
    stop.signal,
  )

const ensure = () =>
  new ManagedSecrets({ api, cache, clock: time, events }).ensure(
    {
      name: 'acme-credentials',
      namespace: 'demo',
      owner,
      tenant: 'demo/acme',
      publicUrl: undefined,
      keys: { algorithms: new Map([['backend', 'HS256']]) },
    },
    stop.signal,
  )

test('a part that is not stopped writes', async () => {
  await report()
  await ensure()
  expect(written).toEqual(['status', 'object'])
})

test('no status is written after the abort', async () => {
  stop.abort(new Error('the process is ending'))
  await expect(report()).rejects.toThrow('the process is ending')
  expect(written).toEqual([])
})

test('no Secret is written when the signal aborts while the current Secret is read', async () => {
  reading = () => stop.abort(new Error('the process is ending'))
  await expect(ensure()).rejects.toThrow('the process is ending')
  expect(written).toEqual([])
})
