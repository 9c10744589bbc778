// From `kubectl apply` to a client that is let in or refused: a real API server, a real Redis, real gateways, and a controller between them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chatAs } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import { endControllers } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { apiVersion, chatPlan, chatTenant } from '../support/kube-parley.js'
import { conditionOf, generated, openRules, signed, World } from '../support/reconciled.js'
import { endLinks } from '../support/redis-links.js'
import { endRedisProcesses, until } from '../support/redis-processes.js'

let world: World

beforeAll(async () => {
  world = await World.start({ gateways: 2 })
  world.controller()
}, kubeStartMsMax)
afterAll(async () => {
  await endControllers()
  await endLinks()
  await endPrograms()
  await world.stop()
  await endRedisProcesses()
})

const letIn = 426
const tenant = (name: string, spec: object = generated) => chatTenant(spec, { name, ns: 'demo' })
const ready = { status: 'True', reason: 'Available' }

test('a tenant is applied, programmed everywhere, and lets its users in by its generated key', async () => {
  await world.client.apply(tenant('acme'))
  const object = await world.condition('Ready', ready)
  expect(object['status']).toMatchObject({
    observedGeneration: 1,
    tenantID: object.metadata['uid'],
    revision: expect.any(String),
    dataplane: { gateways: 2, synced: 2, lastProgrammedTime: expect.any(String) },
    effective: { plan: 'free', channelRules: 1, limits: { connections: { max: 1000 } } },
    binding: { name: 'acme-credentials' },
    endpoints: [
      { type: 'Chat', url: 'wss://chat.example.com/demo/acme/ws' },
      { type: 'Centrifuge', url: 'wss://chat.example.com/demo/acme/connection/websocket' },
    ],
  })
  const token = await world.token()
  expect(await world.door(token)).toBe(letIn)
  expect(await world.door(await signed('some other secret that is long enough to sign'))).toBe(401)
})

describe('edits', () => {
  test('a narrower rule refuses what was allowed, and lets the connection live', async () => {
    await world.client.apply(tenant('edited'))
    await world.condition('Ready', ready, { name: 'edited' })
    const token = await world.token({ secret: 'edited-credentials' })
    const [gateway] = world.gateways
    const ann = await chatAs(gateway!, 'ann', { tenant: 'demo/edited', token })
    await ann.done({ type: 'chat', content: 'hello' })
    const [rule] = openRules
    await world.client.apply(
      tenant('edited', {
        ...generated,
        channels: [
          { ...rule, grants: [{ operations: ['Subscribe'], subjects: [{ authenticated: true }] }] },
        ],
      }),
    )
    await world.condition('Ready', ready, { name: 'edited' })
    expect(await ann.refused({ type: 'chat', content: 'hello' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })
})
