// A channel rule that asks for durability Durable while the installation has no archive: the controller refuses the spec and says so, and a
// live tenant keeps its last good revision.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import {
  admitted,
  conditionOf,
  demoTenant,
  endWorlds,
  generated,
  openRules,
  World,
} from '../support/reconciled.js'

let world: World

beforeAll(async () => {
  world = await World.start()
  world.controller()
}, kubeStartMsMax)
afterAll(endWorlds)

const refused = { status: 'False', reason: 'DurabilityUnavailable' }
const durable = { ...generated, channels: openRules.map((rule) => ({ ...rule, durability: 'Durable' })) }

test('a new tenant that asks for Durable is not accepted, and its conditions say why', async () => {
  await world.client.apply(demoTenant('archived', durable))
  const object = await world.condition('Accepted', refused, { name: 'archived' })
  expect(conditionOf(object, 'Accepted')?.message).toBe(
    'spec.channels[0].durability: Rule "lobby" asks for durability Durable, but this installation ' +
      'has no archive, so every publish would be refused. Use Replicated, Accepted, or omit the ' +
      'field.',
  )
  expect(conditionOf(object, 'Ready')).toMatchObject(refused)
  expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True', reason: 'DurabilityUnavailable' })
  expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'False', reason: 'NeverAccepted' })
})

test('an edit that asks for Durable keeps the last good revision in force, and can be corrected', async () => {
  const { token } = await world.readyTenant('edited')
  const ann = await world.chat(token, 'demo/edited')
  const before = await world.tenant('edited')
  await world.client.apply(demoTenant('edited', durable))
  const object = await world.condition('Accepted', refused, { name: 'edited' })
  expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'False', reason: 'LastGoodRevision' })
  expect(object['status'].revision).toBe(before?.['status'].revision)
  await ann.done({ type: 'chat', content: 'still here' })
  expect(await world.chatStatus(token, { tenant: 'demo/edited' })).toBe(admitted)

  const accepted = { ...generated, channels: openRules.map((rule) => ({ ...rule, durability: 'Accepted' })) }
  await world.client.apply(demoTenant('edited', accepted))
  await world.condition('Accepted', { status: 'True' }, { name: 'edited' })
  await ann.done({ type: 'chat', content: 'and acknowledged' })
})
